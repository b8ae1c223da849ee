"""Domain events, stored in the transaction of the change they tell of."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from sqlalchemy import Connection, insert

from interceptors.ids import new_id
from services.runtime.persistence.tables import event_outbox


def add_event(
    connection: Connection, message: Message, *, tenant: str, subject: str, time: datetime, trace_parent: str
) -> str:
    """Add a message to the event outbox and return the id of the event."""
    identifier = new_id()
    connection.execute(
        insert(event_outbox).values(
            id=identifier,
            tenant=tenant,
            type=message.DESCRIPTOR.full_name,
            subject=subject,
            time=time,
            trace_parent=trace_parent,
            data=MessageToJson(message, indent=None).encode(),
        )
    )
    return identifier
