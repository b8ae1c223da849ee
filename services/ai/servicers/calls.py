"""What every servicer of this domain reads from the call it answers and from resource names."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from interceptors.call import Call, current_call
from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2


def this_call() -> Call:
    """The call being answered; the road enters it before its handler."""
    call = current_call()
    assert call is not None
    return call


def owner(name: str) -> str:
    """The user in a name `users/{user}/...`; the road has resolved and checked it."""
    return name.split("/", 2)[1]


def identifier(name: str, collection: str) -> str:
    """The id of the resource in `users/{user}/<collection>/{id}`. Raises Fault RESOURCE_NOT_FOUND for another name."""
    match name.split("/"):
        case ["users", _, found, identifier] if found == collection:
            return identifier
    raise Fault(reason_pb2.REASON_RESOURCE_NOT_FOUND, metadata={"resource": name})


def seconds_left(at_most: float) -> float:
    """The time until the call's deadline, in seconds."""
    deadline = this_call().deadline
    if deadline is None:
        return at_most
    return min(at_most, deadline - asyncio.get_running_loop().time())


def set_time(field: Any, moment: datetime) -> None:
    """Fill a google.protobuf.Timestamp from an aware datetime."""
    field.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
