"""Encodes the audit record of a call.

A record is the encoding of `polyphony.compliance.v1.AuditRecord`. It is written straight from the
call's values, because building a message of twenty fields in Python costs more than all other steps
of the road; what is constant for a method is encoded once. Tests hold it against the real message.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from functools import lru_cache

from google.protobuf import descriptor
from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.contract import MethodContract, field_policy
from interceptors.faults import Fault
from interceptors.ports import AuditEntry
from polyphony.compliance.v1 import audit_record_pb2
from polyphony.policy.v1 import policy_pb2

_VALUE_LIMIT = 1024
_DISCLOSED_LIMIT = 16_384
"""Bytes of disclosed fields in one record, far below what the ledger accepts."""
_FIELDS = audit_record_pb2.AuditRecord.DESCRIPTOR.fields_by_name


def _tag(field: str, wire_type: int) -> bytes:
    return _varint(_FIELDS[field].number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < _SHORT:
        return _VARINTS[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SHORT = 0x4000
_VARINTS = [bytes([n]) if n < 0x80 else bytes([n & 0x7F | 0x80, n >> 7]) for n in range(_SHORT)]


_ID = _tag("id", 2)
_START = _tag("start_unix_nanos", 1)
_DURATION = _tag("duration_nanos", 0)
_TENANT = _tag("tenant", 2)
_ACTOR = _tag("actor", 2)
_DELEGATE = _tag("delegate", 2)
_SESSION = _tag("session", 2)
_SUBJECT = _tag("subject", 2)
_RESOURCE = _tag("resource", 2)
_PURPOSE = _tag("purpose", 0)
_BASIS = _tag("basis", 0)
_CODE = _tag("code", 0)
_REASON = _tag("reason", 2)
_STEP = _tag("step", 2)
_RULE = _tag("rule", 2)
_SNAPSHOT = _tag("policy_snapshot", 2)
_CONSENT = _tag("consent_record", 2)
_REQUESTS = _tag("requests", 0)
_RESPONSES = _tag("responses", 0)
_REPLAYED = _tag("replayed", 0) + b"\x01"
_FIELD = _tag("fields", 2)
_PARENT = _tag("parent", 2)
_TRACE = _tag("trace_id", 2)


class RecordEncoder:
    """Encodes the records of one method. `digest_key` keys the digests of values that are not kept."""

    def __init__(self, method: MethodContract, service: str, digest_key: bytes) -> None:
        self._digest_key = digest_key
        self._constant = audit_record_pb2.AuditRecord(
            method=method.name, service=service, contract_digest=method.digest
        ).SerializeToString()
        self._purposes = {0: b""} | {
            purpose: _PURPOSE + _varint(purpose) + _BASIS + _varint(basis)
            for purpose, basis in method.purposes.items()
        }
        self._discloses = method.audit_level == policy_pb2.AUDIT_LEVEL_REQUEST

    def encode(self, call: Call, fault: Fault | None) -> AuditEntry:
        """The record of a call that ended with `fault`, or well."""
        identity = call.identity
        parts = [
            self._constant,
            _text(_ID, call.id),
            _START,
            call.received.to_bytes(8, "little"),
            _DURATION,
            _varint(max(0, time.time_ns() - call.received)),
            _caller(identity.tenant, identity.user, identity.actor, identity.session),
            _object(call.subject, call.resource),
            self._purposes[call.purpose],
        ]
        if call.decision is not None:
            parts.append(_decision(call.decision.rule, call.decision.snapshot))
        if call.consent is not None and call.consent.record:
            parts.append(_text(_CONSENT, call.consent.record))
        if fault is not None:
            parts += (_CODE, _varint(fault.code.value[0]), _text(_REASON, fault.name))
            if call.step:
                parts.append(_text(_STEP, call.step))
        parts += (_REQUESTS, _varint(call.requests), _RESPONSES, _varint(call.responses))
        if call.replayed:
            parts.append(_REPLAYED)
        if call.parent:
            parts.append(_text(_PARENT, call.parent))
        if call.trace_id:
            parts.append(_text(_TRACE, call.trace_id))
        if self._discloses and call.request is not None:
            room = _DISCLOSED_LIMIT
            for disclosed in self._disclosed(call.request, ""):
                encoded = disclosed.SerializeToString()
                room -= len(encoded)
                if room < 0:
                    break
                parts += (_FIELD, _varint(len(encoded)), encoded)
        return AuditEntry(call.id, identity.tenant, b"".join(parts))

    def _disclosed(self, message: Message, prefix: str) -> Iterator[audit_record_pb2.DisclosedField]:
        for field, value in message.ListFields():
            path = prefix + field.name
            if field.message_type is not None and not field.is_repeated:
                yield from self._disclosed(value, path + ".")
                continue
            disclosure = _disclosure(field)
            if disclosure == policy_pb2.DISCLOSURE_KEEP:
                yield audit_record_pb2.DisclosedField(path=path, value=str(value)[:_VALUE_LIMIT])
            elif disclosure == policy_pb2.DISCLOSURE_DIGEST:
                digest = hmac.digest(self._digest_key, str(value).encode(), hashlib.sha256)
                yield audit_record_pb2.DisclosedField(path=path, digest=digest)


def _disclosure(field: descriptor.FieldDescriptor) -> int:
    """What is kept of a field; numbers and enums without a policy are kept, repeated messages are not."""
    if field.message_type is not None:
        return policy_pb2.DISCLOSURE_DROP
    policy = field_policy(field)
    if policy.disclosure:
        return policy.disclosure
    if policy.data_class in (policy_pb2.DATA_CLASS_SENSITIVE, policy_pb2.DATA_CLASS_SECRET):
        return policy_pb2.DISCLOSURE_DROP
    if policy.data_class == policy_pb2.DATA_CLASS_PERSONAL:
        return policy_pb2.DISCLOSURE_DIGEST
    return policy_pb2.DISCLOSURE_KEEP


def _text(tag: bytes, value: str) -> bytes:
    encoded = value.encode()
    return tag + _varint(len(encoded)) + encoded


def _texts(*fields: tuple[bytes, str]) -> bytes:
    return b"".join(_text(tag, value) for tag, value in fields if value)


@lru_cache(maxsize=4096)
def _caller(tenant: str, user: str, delegate: str, session: str) -> bytes:
    return _texts((_TENANT, tenant), (_ACTOR, user), (_DELEGATE, delegate), (_SESSION, session))


@lru_cache(maxsize=4096)
def _object(subject: str, resource: str) -> bytes:
    return _texts((_SUBJECT, subject), (_RESOURCE, resource))


@lru_cache(maxsize=4096)
def _decision(rule: str, snapshot: str) -> bytes:
    return _text(_RULE, rule) + _text(_SNAPSHOT, snapshot)
