"""Makes the call known to everything that runs for it, and ends it at its deadline."""

from __future__ import annotations

import asyncio
import re

from interceptors.call import Call, enter_call
from interceptors.contract import MethodContract
from interceptors.deadlines import Deadlines
from interceptors.step import Endpoint, Road

PARENT_METADATA = "polyphony-parent"
"""The audit id of the call that made this one."""

AUDIT_ID_TRAILER = "polyphony-audit-id"
"""The audit id of the answered call."""

_AUDIT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Other words of a caller are not kept: a record is for ever, and this part of it is never sealed."""


def context(_road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Set the current call, its parent and its deadline: the client's, else the method's default."""
    default = method.default_deadline
    deadlines = Deadlines()

    async def entered(call: Call) -> bytes | None:
        enter_call(call)
        call.task = asyncio.current_task()
        call.trailers[AUDIT_ID_TRAILER] = call.id
        parent = call.metadata.get(PARENT_METADATA, "")
        call.parent = parent if parent and _AUDIT_ID.fullmatch(parent) else ""
        if call.deadline is None:
            if default is None:
                return await onward(call)
            call.deadline = asyncio.get_running_loop().time() + default
        tick = deadlines.add(call, call.deadline)
        try:
            return await onward(call)
        finally:
            deadlines.discard(call, tick)

    return entered
