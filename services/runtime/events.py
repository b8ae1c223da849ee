"""Domain events between services: CloudEvents 1.0 on Redis Streams, out of the outbox, at least once.

``tx.emit(message, subject=...)`` stores an event with the change; :class:`EventRelay` publishes it on the stream
``polyphony:events:<type>`` in CloudEvents' binary mode (attributes are fields of the entry, ``data`` is proto JSON);
:class:`EventConsumer` hands it to another domain. Delivery is at least once: a handler that must not act twice asks
:func:`first_time` in the transaction of what it does.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.json_format import Parse
from google.protobuf.message import Message
from redis.asyncio import Redis
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from services.runtime.persistence import SYSTEM, Database, Transaction
from services.runtime.persistence.tables import event_outbox, processed_events
from services.runtime.relay import Relay

STREAM_PREFIX = "polyphony:events:"
STREAM_LENGTH = 100_000
"""Entries that a stream keeps at least; older ones go, whether or not every group has read them."""
BATCH_EVENTS = 256

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent. ``source`` is the domain that emitted it, ``subject`` the resource it speaks of."""

    id: str
    source: str
    type: str
    tenant: str
    subject: str
    time: datetime
    trace_parent: str
    data: bytes

    def message(self, kind: builtins.type[M]) -> M:
        """The event's data as the proto message that was emitted; unknown fields are ignored."""
        message = kind()
        Parse(self.data, message, ignore_unknown_fields=True)
        return message

    def fields(self) -> dict[Any, Any]:
        """The entry of the stream."""
        attributes = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "tenant": self.tenant,
            "traceparent": self.trace_parent,
        }
        return {**{name: value for name, value in attributes.items() if value}, "data": self.data}

    @classmethod
    def of_fields(cls, fields: Mapping[bytes, bytes]) -> Event:
        """Read an entry; raises ``ValueError`` when it is no CloudEvent of this mesh."""
        given = {name.decode(): value for name, value in fields.items()}
        data = given.pop("data", b"{}")
        text = {name: value.decode() for name, value in given.items()}
        if text.get("specversion") != "1.0" or not {"id", "source", "type", "tenant", "time"} <= text.keys():
            raise ValueError("the entry is no CloudEvent 1.0 of this mesh")
        return cls(
            id=text["id"],
            source=text["source"],
            type=text["type"],
            tenant=text["tenant"],
            subject=text.get("subject", ""),
            time=datetime.fromisoformat(text["time"]).astimezone(UTC),
            trace_parent=text.get("traceparent", ""),
            data=data,
        )


def stream_of(event_type: str) -> str:
    """The stream that events of a type travel on."""
    return STREAM_PREFIX + event_type


class EventRelay(Relay):
    """Publishes the outbox in the order of its ids and deletes what Redis has taken."""

    def __init__(self, database: Database, redis: Redis) -> None:
        super().__init__(database, "event-relay")
        self._database = database
        self._redis = redis

    async def step(self) -> bool:
        """Publish one batch; returns whether there was one."""
        events = await self._database.read(self._next, tenant=SYSTEM)
        if not events:
            return False
        async with self._redis.pipeline(transaction=True) as pipeline:
            for event in events:
                pipeline.xadd(stream_of(event.type), event.fields(), maxlen=STREAM_LENGTH, approximate=True)
            await pipeline.execute()
        sent = [event.id for event in events]
        await self._database.write(
            lambda tx: (
                tx.connection.execute(delete(event_outbox).where(event_outbox.c.id.in_(sent))).rowcount
            ),
            tenant=SYSTEM,
        )
        return True

    def _next(self, tx: Transaction) -> list[Event]:
        rows = tx.connection.execute(select(event_outbox).order_by(event_outbox.c.id).limit(BATCH_EVENTS))
        return [
            Event(
                id=row.id,
                source=f"/polyphony/{self._database.domain}",
                type=row.type,
                tenant=row.tenant,
                subject=row.subject,
                time=row.time,
                trace_parent=row.trace_parent,
                data=row.data,
            )
            for row in rows
        ]


def first_time(tx: Transaction, consumer: str, event: Event) -> bool:
    """Whether ``consumer`` has not handled ``event`` before; remembers it with the commit of ``tx``."""
    values = {"consumer": consumer, "id": event.id, "time": tx.now}
    insert = sqlite.insert if tx.connection.dialect.name == "sqlite" else postgresql.insert
    remember = insert(processed_events).values(values).on_conflict_do_nothing()
    return tx.connection.execute(remember.returning(processed_events.c.id)).first() is not None


def forget_processed(tx: Transaction, *, older_than: timedelta) -> int:
    """Delete the memory of events handled long ago (longer than a stream may redeliver them); returns how many."""
    return tx.connection.execute(
        delete(processed_events).where(processed_events.c.time < tx.now - older_than)
    ).rowcount
