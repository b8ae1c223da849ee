"""What the contract says must rest encrypted has a column that takes nothing else."""

import importlib

import pytest
from google.protobuf import descriptor
from sqlalchemy import MetaData

from interceptors.contract import field_policy
from polyphony.compliance.v1 import audit_record_pb2
from polyphony.policy.v1 import policy_pb2
from services.__main__ import DOMAINS
from services.compliance.adapters.leaves import take_personal
from services.runtime.persistence import protected_fields
from tests.contract.catalogue import at_rest, fields, messages

ENCRYPTED = at_rest(policy_pb2.AT_REST_RANDOMISED, policy_pb2.AT_REST_BLIND_INDEX)
NEVER = at_rest(policy_pb2.AT_REST_NEVER)

# The ledger seals the personal part of a whole record, whichever fields that is: tested on its own below.
IN_LEAVES = {
    "polyphony.compliance.v1.AppendRecordsRequest.records",
    *(f.full_name for f in audit_record_pb2.AuditRecord.DESCRIPTOR.fields),
    *(f.full_name for f in audit_record_pb2.DisclosedField.DESCRIPTOR.fields),
}


def stored(domain: str) -> dict[str, list[str]]:
    """The protected proto fields that the domain's tables hold, with their columns."""
    tables = importlib.import_module(f"{DOMAINS[domain]}.adapters.tables")
    (metadata,) = {
        id(value.metadata): value.metadata
        for value in vars(tables).values()
        if isinstance(getattr(value, "metadata", None), MetaData) and value.__module__ == tables.__name__
    }.values()
    return protected_fields(metadata)


def test_every_domain_with_protected_fields_is_hosted():
    assert set(ENCRYPTED) <= set(DOMAINS)


@pytest.mark.parametrize("domain", sorted(ENCRYPTED))
def test_every_protected_field_has_a_protected_column(domain):
    assert ENCRYPTED[domain] - IN_LEAVES - set(stored(domain)) == set()


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_every_protected_column_is_of_a_field_that_demands_it(domain):
    known = {field.full_name for field in fields()}
    assert set(stored(domain)) <= known
    assert set(stored(domain)) & NEVER.get(domain, set()) == set(), "declared never to be stored"


def test_nothing_personal_is_left_in_a_leaf_outside_its_seal():
    record = audit_record_pb2.AuditRecord()
    for field in record.DESCRIPTOR.fields:
        if field.is_repeated:
            record.fields.add(path="text", value="private", digest=b"d" * 32)
        elif field.type == field.TYPE_STRING:
            setattr(record, field.name, f"private-{field.name}")
        elif field.type == field.TYPE_BYTES:
            setattr(record, field.name, b"x")
    personal = take_personal(record)
    left = [field.full_name for field, _ in record.ListFields()]
    left += [f.full_name for disclosed in record.fields for f, _ in disclosed.ListFields()]
    assert set(left) & ENCRYPTED["compliance"] == set()
    assert personal.actor == "private-actor"
    assert personal.fields[0].value == "private"


@pytest.mark.parametrize("field", list(fields()), ids=lambda field: field.full_name)
def test_a_secret_is_stored_as_a_digest_or_not_at_all(field):
    policy = field_policy(field)
    if policy.data_class == policy_pb2.DATA_CLASS_SECRET:
        assert policy.at_rest in (policy_pb2.AT_REST_DIGEST, policy_pb2.AT_REST_NEVER)
        assert policy.disclosure in (0, policy_pb2.DISCLOSURE_DROP)


@pytest.mark.parametrize("field", list(fields()), ids=lambda field: field.full_name)
def test_what_is_encrypted_for_a_person_is_shredded_with_the_key(field):
    policy = field_policy(field)
    if policy.at_rest in (policy_pb2.AT_REST_RANDOMISED, policy_pb2.AT_REST_BLIND_INDEX):
        assert policy.erasure == policy_pb2.ERASURE_SHRED
        assert policy.data_class >= policy_pb2.DATA_CLASS_PERSONAL


@pytest.mark.parametrize("message", list(messages()), ids=lambda message: message.full_name)
def test_no_text_or_list_is_unbounded(message: descriptor.Descriptor):
    from buf.validate import validate_pb2

    if message.full_name.startswith(("polyphony.policy.", "polyphony.errors.")):
        return
    for field in message.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        items = rules.repeated.items if field.is_repeated else rules
        if field.is_repeated:
            assert rules.repeated.HasField("max_items"), f"{field.full_name} is a list without an end"
        if field.type == field.TYPE_STRING:
            assert items.string.HasField("max_len"), f"{field.full_name} is a text without an end"
        if field.type == field.TYPE_BYTES:
            assert items.bytes.HasField("max_len") or items.bytes.HasField("len"), field.full_name
