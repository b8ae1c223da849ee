"""The compliance domain over each real database."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine, text

import services.compliance
from interceptors.call import Call, enter_call
from interceptors.contract import Contract
from interceptors.identity import Identity
from interceptors.ids import new_id
from polyphony.compliance.v1 import (
    audit_ledger_service_pb2,  # noqa: F401 - registers the service with the descriptor pool
    audit_service_pb2,  # noqa: F401
    consent_service_pb2,  # noqa: F401
)
from polyphony.compliance.v1.audit_record_pb2 import AuditRecord, DisclosedField
from polyphony.policy.v1 import policy_pb2
from services.compliance.adapters.checkpoint_file import CheckpointFile
from services.compliance.checkpoint import VerifierKey
from services.compliance.ledger import Ledger
from services.compliance.signing import CheckpointSigning, origin_of
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from tests.fixtures.postgres import postgres_url

__all__ = ["postgres_url"]

MIGRATIONS = Path(services.compliance.__file__).parent / "migrations"
TENANT = "acme"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
VERIFIER = VerifierKey(origin_of(TENANT), SIGNING_KEY.public_key())

OpenDatabase = Callable[[], Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDatabase:
    """Opens an object of its own, as another worker would, for one database that is empty at first."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'compliance.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA IF EXISTS compliance CASCADE"))
        engine.dispose()
    keyring = Keyring([b"\7" * 32])
    return lambda: Database(url, domain="compliance", migrations=MIGRATIONS, keyring=keyring)


@pytest.fixture
async def database(open_database: OpenDatabase) -> AsyncIterator[Database]:
    """The migrated database."""
    database = open_database()
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """The ledger over the database."""
    return Ledger(database)


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Iterator[CheckpointFile]:
    """An empty file of checkpoints."""
    file = CheckpointFile(tmp_path / "checkpoints" / "checkpoints.db")
    file.open()
    yield file
    file.close()


@pytest.fixture
def signing(database: Database, checkpoint_file: CheckpointFile) -> CheckpointSigning:
    """The signer, not running: tests sign when they want to."""
    return CheckpointSigning(database, checkpoint_file, SIGNING_KEY, interval=0.05)


CONTRACT = Contract(["polyphony.compliance.v1.ConsentService", "polyphony.compliance.v1.AuditService"])


def call_as(user: str, method: str, *, tenant: str = TENANT) -> None:
    """Makes the running task answer a call of ``user``, as the road would."""
    enter_call(
        Call(
            method=CONTRACT[f"/polyphony.compliance.v1.{method}"],
            metadata={},
            peer="test",
            id=new_id(),
            received=0,
            identity=Identity(credential=policy_pb2.CREDENTIAL_USER, tenant=tenant, user=user),
        )
    )


_numbers = itertools.count()


def record(user: str = "alice", *, tenant: str = TENANT, **fields: object) -> AuditRecord:
    """A record such as a service writes it."""
    values: dict[str, object] = {
        "id": new_id(),
        "start_unix_nanos": 1_790_000_000_000_000_000 + next(_numbers),
        "method": "polyphony.spotify.v1.UserDataService/ListPlays",
        "service": "spotify-0",
        "tenant": tenant,
        "actor": user,
        "subject": user,
        "session": f"session-of-{user}",
        "resource": f"users/{user}/history",
        "code": 0,
        "fields": [
            DisclosedField(path="filter", value=f"secret-of-{user}"),
            DisclosedField(path="n", digest=b"d"),
        ],
    }
    return AuditRecord(**(values | fields))  # type: ignore[arg-type]


def encoded(*records: AuditRecord) -> list[bytes]:
    """As the relay sends them."""
    return [entry.SerializeToString() for entry in records]
