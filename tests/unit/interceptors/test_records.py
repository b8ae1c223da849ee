"""The hand-written encoding of an audit record is that of the message, field by field."""

import hashlib
import hmac
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptors import Fault
from interceptors.call import Call
from interceptors.contract import Contract
from interceptors.identity import ANONYMOUS
from interceptors.ports import ConsentState, ConsentVerdict, Decision
from interceptors.records import RecordEncoder
from polyphony.compliance.v1 import audit_record_pb2
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from tests.fixtures.echo import echo_modules
from tests.fixtures.ports import ALICE
from tests.unit.interceptors.conftest import ECHO

KEY = b"k" * 32
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
UINT32 = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def methods():
    echo_modules()
    return Contract([ECHO])


IDENTITY = st.one_of(
    st.just(ANONYMOUS),
    st.builds(
        lambda tenant, user, session, actor: replace(
            ALICE, tenant=tenant, user=user, session=session, actor=actor
        ),
        TEXT,
        TEXT,
        TEXT,
        TEXT,
    ),
)
CALL = st.fixed_dictionaries(
    {
        "id": TEXT,
        "received": st.integers(0, 2**63),
        "identity": IDENTITY,
        "subject": TEXT,
        "resource": TEXT,
        "decision": st.none() | st.builds(Decision, st.booleans(), st.just("own"), TEXT, TEXT),
        "consent": st.none() | st.builds(ConsentVerdict, st.sampled_from(ConsentState), TEXT),
        "requests": UINT32,
        "responses": UINT32,
        "replayed": st.booleans(),
        "parent": TEXT,
        "trace_id": TEXT,
        "step": TEXT,
    }
)
FAULT = st.none() | st.builds(Fault, st.sampled_from([n for n in reason_pb2.Reason.values() if n]))


def plain(method, call, fault):
    """The record as the message itself is filled in."""
    identity = call.identity
    record = audit_record_pb2.AuditRecord(
        id=call.id,
        start_unix_nanos=call.received,
        method=method.name,
        service="echo-0",
        contract_digest=method.digest,
        tenant=identity.tenant,
        subject=call.subject,
        resource=call.resource,
        purpose=call.purpose,
        requests=call.requests,
        responses=call.responses,
        replayed=call.replayed,
        parent=call.parent,
        trace_id=call.trace_id,
    )
    record.actor, record.delegate, record.session = identity.user, identity.actor, identity.session
    if call.purpose in method.purposes:
        record.basis = method.purposes[call.purpose]
    if call.decision is not None:
        record.rule, record.policy_snapshot = call.decision.rule, call.decision.snapshot
    if call.consent is not None:
        record.consent_record = call.consent.record
    if fault is not None:
        record.code, record.reason, record.step = fault.code.value[0], fault.name, call.step
    return record


@given(values=CALL, fault=FAULT, name=st.sampled_from(["Echo", "Change", "Repeat", "Ping"]), data=st.data())
def test_the_encoding_is_that_of_the_message(methods, values, fault, name, data):
    method = methods[f"/{ECHO}/{name}"]
    # No call reaches its record with a purpose that its method does not serve: the consent step settles it.
    purpose = data.draw(st.sampled_from([policy_pb2.PURPOSE_UNSPECIFIED, *method.purposes]))
    call = Call(method=method, metadata={}, peer="", purpose=purpose, **values)
    entry = RecordEncoder(method, "echo-0", KEY).encode(call, fault)
    decoded = audit_record_pb2.AuditRecord.FromString(entry.payload)
    now = time.time_ns()
    assert 0 <= decoded.duration_nanos <= max(0, now - call.received)
    expected = plain(method, call, fault)
    expected.duration_nanos = decoded.duration_nanos
    assert decoded == expected
    assert (entry.id, entry.tenant) == (call.id, call.identity.tenant)


@given(text=TEXT, secret=TEXT, count=st.integers(0, 1000), parent=TEXT)
def test_what_is_kept_of_a_request_is_what_its_policy_says(methods, text, secret, count, parent):
    pb = echo_modules()[0]
    method = methods[f"/{ECHO}/Change"]
    call = Call(method=method, metadata={}, peer="", id="i", received=1)
    call.request = pb.EchoRequest(text=text, secret=secret, count=count, parent=parent)
    entry = RecordEncoder(method, "echo-0", KEY).encode(call, None)
    fields = {f.path: f for f in audit_record_pb2.AuditRecord.FromString(entry.payload).fields}
    assert "secret" not in fields
    # Kept: class INTERNAL, and numbers. Digested: class PERSONAL.
    assert ("parent" in fields) is bool(parent)
    assert ("count" in fields) is bool(count)
    assert ("text" in fields) is bool(text)
    if parent:
        assert fields["parent"].value == parent
    if count:
        assert fields["count"].value == str(count)
    if text:
        assert fields["text"].value == ""
        assert fields["text"].digest == hmac.digest(KEY, text.encode(), hashlib.sha256)


def test_a_call_that_is_only_recorded_as_a_call_keeps_nothing_of_its_request(methods):
    pb = echo_modules()[0]
    method = methods[f"/{ECHO}/Echo"]
    call = Call(method=method, metadata={}, peer="", id="i", received=1)
    call.request = pb.EchoRequest(text="private", parent="users/u1")
    payload = RecordEncoder(method, "echo-0", KEY).encode(call, None).payload
    assert b"private" not in payload
    assert b"users/u1" not in payload


def test_a_long_value_is_cut(methods, monkeypatch):
    pb = echo_modules()[0]
    method = methods[f"/{ECHO}/Change"]
    call = Call(method=method, metadata={}, peer="", id="i", received=1)
    call.request = pb.EchoRequest(parent="p" * 5000)
    entry = RecordEncoder(method, "echo-0", KEY).encode(call, None)
    (field,) = audit_record_pb2.AuditRecord.FromString(entry.payload).fields
    assert field.value == "p" * 1024


def test_nested_fields_are_named_by_their_path_and_lists_are_left_out():
    """On a real request: the header of an import keeps what is not personal."""
    from polyphony.spotify.v1 import user_data_service_pb2 as spotify

    encoder = RecordEncoder.__new__(RecordEncoder)
    encoder._digest_key = KEY
    request = spotify.ImportHistoryRequest(
        header=spotify.ImportHeader(parent="users/u1", file_name="mine.zip", size_bytes=3, sha256=b"x" * 32)
    )
    kept = {
        field.path: SimpleNamespace(v=field.value, d=field.digest)
        for field in encoder._disclosed(request, "")
    }
    assert kept["header.parent"].v == "users/u1"
    assert kept["header.size_bytes"].v == "3"
    assert kept["header.file_name"].v == ""
    assert len(kept["header.sha256"].d) == 32


def test_repeated_texts_follow_their_policy_too():
    from polyphony.ai.v1 import recommendation_service_pb2 as ai

    encoder = RecordEncoder.__new__(RecordEncoder)
    encoder._digest_key = KEY
    request = ai.RecommendRequest(parent="users/u1", seed_uris=["spotify:track:1", "spotify:track:2"])
    kept = {field.path: field for field in encoder._disclosed(request, "")}
    assert kept["seed_uris"].value == ""
    assert len(kept["seed_uris"].digest) == 32
