"""Turns whatever ends a call into a fault. Nothing internal leaks; an incident id finds it in the log."""

from __future__ import annotations

import asyncio
import logging

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.outcome import outcome
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2

_log = logging.getLogger("polyphony.faults")


def faults(_road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Answer with a fault, whatever was raised; one that ended the call from outside stands for its cancellation."""

    def incident(call: Call, error: BaseException) -> Fault:
        _log.error("unexpected error", extra={"method": method.name, "incident": call.id}, exc_info=error)
        internal = outcome(call, error)
        internal.metadata["incident"] = call.id
        return internal

    async def mapped(call: Call) -> bytes | None:
        try:
            return await onward(call)
        except asyncio.CancelledError as error:
            assert call.task is not None
            if not call.task.cancelling():
                raise incident(call, error) from None
            if call.ended_by is not None:
                call.task.uncancel()
                raise call.ended_by from None
            raise
        except Fault as fault:
            if fault.reason == reason_pb2.REASON_TENANT_MISMATCH:
                _log.error("tenant mismatch", extra={"method": method.name, "incident": call.id})
            raise
        except Exception as error:
            raise incident(call, error) from None

    return mapped
