"""The revisions make exactly the tables that the code declares, and every protected field has its column."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default

import polyphony.spotify.v1
from polyphony.policy.v1 import policy_pb2
from services.runtime.persistence import Database, protected_fields
from services.runtime.persistence.revise import differences
from services.spotify.adapters.tables import Entity


def test_migrated_database_equals_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        assert differences(connection, Entity.metadata) == []


def protected_by_contract() -> Iterator[str]:
    for module in pkgutil.iter_modules(polyphony.spotify.v1.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file: FileDescriptor = Default().FindFileByName(f"polyphony/spotify/v1/{module.name[:-4]}.proto")
        for message in file.message_types_by_name.values():
            for field in message.fields:
                policy = field.GetOptions().Extensions[policy_pb2.field]
                if policy.at_rest in (policy_pb2.AT_REST_RANDOMISED, policy_pb2.AT_REST_BLIND_INDEX):
                    yield field.full_name


@pytest.mark.parametrize("field", sorted(protected_by_contract()))
def test_every_protected_field_has_a_sealed_column(field: str) -> None:
    assert field in protected_fields(Entity.metadata)
