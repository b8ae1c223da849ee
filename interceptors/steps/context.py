"""Makes the call known to everything that runs for it, and ends it at its deadline."""

from __future__ import annotations

import asyncio

from interceptors.call import Call, enter_call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2

PARENT_METADATA = "polyphony-parent"
"""The audit id of the call that made this one."""

AUDIT_ID_TRAILER = "polyphony-audit-id"
"""The audit id of the answered call."""

_ID_LIMIT = 64


def context(_road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Set the current call, its parent and its deadline: the client's, else the method's default."""
    default = method.default_deadline

    async def entered(call: Call) -> bytes | None:
        enter_call(call)
        call.task = asyncio.current_task()
        call.trailers[AUDIT_ID_TRAILER] = call.id
        call.parent = call.metadata.get(PARENT_METADATA, "")[:_ID_LIMIT]
        loop = asyncio.get_running_loop()
        if call.deadline is None and default is not None:
            call.deadline = loop.time() + default
        if call.deadline is None:
            return await onward(call)
        timer = loop.call_at(call.deadline, call.end, Fault(reason_pb2.REASON_DEADLINE_EXCEEDED))
        try:
            return await onward(call)
        finally:
            timer.cancel()

    return entered
