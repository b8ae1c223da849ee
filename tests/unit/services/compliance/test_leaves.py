"""Splitting a record into what may be known and what is sealed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptors.contract import field_policy
from polyphony.compliance.v1.audit_record_pb2 import AuditRecord, DisclosedField
from polyphony.policy.v1 import policy_pb2
from services.compliance.adapters.leaves import RecordMalformed, parse_record, put_back, take_personal

text = st.text(max_size=8)
disclosed = st.builds(DisclosedField, path=text, value=text, digest=st.binary(max_size=4))
records = st.builds(
    AuditRecord,
    id=text,
    tenant=text,
    actor=text,
    subject=text,
    session=text,
    resource=text,
    method=text,
    code=st.integers(0, 16),
    fields=st.lists(disclosed, max_size=4),
)


@given(records)
def test_what_is_taken_out_comes_back_whole(record: AuditRecord) -> None:
    whole = AuditRecord()
    whole.CopyFrom(record)
    personal = take_personal(record)
    for field, _ in record.ListFields():
        assert field_policy(field).data_class < policy_pb2.DATA_CLASS_PERSONAL
    assert not any(entry.value for entry in record.fields)
    if personal is not None:
        put_back(record, AuditRecord.FromString(personal.SerializeToString()))
    assert record == whole


def test_nothing_is_sealed_where_nothing_is_personal() -> None:
    assert (
        take_personal(AuditRecord(id="1", method="m", fields=[DisclosedField(path="p", digest=b"d")])) is None
    )


@pytest.mark.parametrize(
    "encoded",
    [b"\xff\xff", b"", AuditRecord(id="1").SerializeToString(), AuditRecord(tenant="t").SerializeToString(),
     AuditRecord(id="1", tenant="*").SerializeToString()],
    ids=["no message", "empty", "no tenant", "no id", "every tenant"],
)  # fmt: skip
def test_what_belongs_into_no_log(encoded: bytes) -> None:
    with pytest.raises(RecordMalformed):
        parse_record(encoded)
