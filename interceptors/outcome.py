"""What ended a call, as the fault that its caller, its record and its metrics are told."""

from __future__ import annotations

import asyncio

from interceptors.call import Call
from interceptors.faults import Fault, fault_of
from polyphony.errors.v1 import reason_pb2


def outcome(call: Call, error: BaseException) -> Fault:
    """The fault that stands for what ended `call`.

    A cancellation is the caller's, or the deadline's, only where the call's own task was cancelled: where
    a task that the handler waited for was cancelled instead, it is a failure of the mesh like any other.
    """
    if not isinstance(error, asyncio.CancelledError):
        return fault_of(error)
    if call.task is None or not call.task.cancelling():
        return fault_of(RuntimeError("cancelled by nobody"))
    if call.ended_by is not None:
        return call.ended_by
    return Fault(reason_pb2.REASON_DEADLINE_EXCEEDED) if call.overdue() else fault_of(error)
