"""A record's way into a leaf and out again: personal fields are sealed under their owner's key before they are hashed.

Which fields are personal is read from the contract. The owner of a record is its subject, or its actor where the call
touched nobody's data; a record of nobody is sealed under the tenant's own key. Destroying the owner's key leaves the
leaf, and so every root and proof, as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from sqlalchemy.orm import InstrumentedAttribute

from interceptors.contract import field_policy
from interceptors.faults import Fault
from polyphony.compliance.v1.audit_record_pb2 import AuditRecord, LedgerLeaf
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from services.compliance.adapters.tables import LedgerRecord
from services.compliance.ports import Leaf
from services.runtime.persistence import SYSTEM, Transaction

_TABLE, _COLUMN = LedgerRecord.__tablename__, "leaf"


class RecordMalformed(ValueError):
    """The bytes are not a record that belongs into a log."""


def parse_record(encoded: bytes) -> AuditRecord:
    """Reads a record as a service wrote it. Raises :class:`RecordMalformed`."""
    record = AuditRecord()
    try:
        record.ParseFromString(encoded)
    except DecodeError:
        raise RecordMalformed("not an AuditRecord") from None
    if not record.id or not record.tenant or record.tenant == SYSTEM:
        raise RecordMalformed("an AuditRecord has an id and the tenant whose log it joins")
    return record


class LeafWriter:
    """Makes leaves of one tenant's records within one transaction; ``now`` is in nanoseconds since the epoch."""

    def __init__(self, tx: Transaction, tenant: str, now: int) -> None:
        self._keys = tx.keys
        self._tenant = tenant
        self._now = now
        self._subjects: dict[str, bytes] = {}
        self._actors: dict[str, bytes] = {}

    def __call__(self, encoded: bytes) -> Leaf:
        """The leaf of an encoded record, which :func:`parse_record` has accepted."""
        record = AuditRecord.FromString(encoded)
        subject = record.subject or record.actor
        subject_index = self._index(self._subjects, LedgerRecord.subject_index, subject)
        actor_index = self._index(self._actors, LedgerRecord.actor_index, record.actor)
        personal = take_personal(record)
        sealed = b""
        if personal is not None:
            try:
                key = (
                    self._keys.of(subject, tenant=self._tenant)
                    if subject
                    else self._keys.of_tenant(tenant=self._tenant)
                )
                sealed = key.seal_at(_TABLE, _COLUMN, record.id, personal.SerializeToString())
            except Fault as fault:
                if fault.reason != reason_pb2.REASON_SUBJECT_KEY_DESTROYED:
                    raise
                # A late record of an erased person: that the call happened is kept, about whom is not.
        leaf = LedgerLeaf(record=record, sealed=sealed, sequence_unix_nanos=self._now)
        return Leaf(record.id, subject_index, actor_index, leaf.SerializeToString())

    def _index(self, cache: dict[str, bytes], column: InstrumentedAttribute[Any], value: str) -> bytes | None:
        if not value:
            return None
        found = cache.get(value)
        if found is None:
            key = self._keys.of_tenant(tenant=self._tenant)
            found = cache[value] = key.blind_index(column, value)
        return found


class LeafReader:
    """Opens the leaves about one person, for a reader who may see them, within one transaction of their tenant."""

    def __init__(self, tx: Transaction, user: str) -> None:
        self._keys = tx.keys
        self._user = user

    def index(self) -> bytes:
        """By which the records about the person are found. Only for a tenant whose log is not empty: its key exists."""
        return self._keys.of_tenant().blind_index(LedgerRecord.subject_index, self._user)

    def open(self, encoded: bytes) -> tuple[AuditRecord, bool]:
        """The record with its personal fields, and whether those were erased instead."""
        leaf = LedgerLeaf.FromString(encoded)
        record = leaf.record
        if not leaf.sealed:
            return record, True
        try:
            opened = self._keys.of(self._user).open_at(_TABLE, _COLUMN, record.id, leaf.sealed)
        except Fault as fault:
            if fault.reason != reason_pb2.REASON_SUBJECT_KEY_DESTROYED:
                raise
            return record, True
        put_back(record, AuditRecord.FromString(opened))
        return record, False


def take_personal(message: AuditRecord) -> AuditRecord | None:
    """Moves the personal fields of a record into a record of their own; ``None`` where it has none."""
    personal = AuditRecord()
    return personal if _take(message, personal) else None


def put_back(message: Message, personal: Message) -> None:
    """Undoes :func:`take_personal`."""
    for field, nested in _personal_fields(message.DESCRIPTOR):
        if nested:
            for whole, part in zip(getattr(message, field.name), getattr(personal, field.name), strict=True):
                put_back(whole, part)
        elif value := getattr(personal, field.name):
            setattr(message, field.name, value)


def _take(message: Message, personal: Message) -> bool:
    taken = False
    for field, nested in _personal_fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if nested:
            # A part of its own for each element, empty or not, so that the two lists stay in step.
            for element in value:
                taken |= _take(element, getattr(personal, field.name).add())
        elif value:
            setattr(personal, field.name, value)
            message.ClearField(field.name)
            taken = True
    return taken


_fields: dict[str, list[tuple[FieldDescriptor, bool]]] = {}


def _personal_fields(descriptor: Any) -> list[tuple[FieldDescriptor, bool]]:
    """The fields to move, each with whether it is a list of messages to look into."""
    found = _fields.get(descriptor.full_name)
    if found is None:
        found = _fields[descriptor.full_name] = list(_classify(descriptor))
    return found


def _classify(descriptor: Any) -> Iterator[tuple[FieldDescriptor, bool]]:
    for field in descriptor.fields:
        if field.message_type is not None:
            if not field.is_repeated:
                raise TypeError(f"{field.full_name}: only lists of messages are looked into")
            yield field, True
        elif field_policy(field).data_class >= policy_pb2.DATA_CLASS_PERSONAL:
            yield field, False
