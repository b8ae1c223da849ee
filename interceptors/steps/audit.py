"""Leaves exactly one durable record of every call.

The record of a unary change commits in the change's own transaction. That of any other unary call is
durable before its answer. That of a stream is durable as pending before the handler runs, and is
completed when the stream ends, so that nothing a stream does can go unrecorded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.outcome import outcome
from interceptors.ports import AuditSink
from interceptors.records import RecordEncoder
from interceptors.step import Endpoint, Road
from polyphony.policy.v1 import policy_pb2

_log = logging.getLogger("polyphony.audit")


class _RecordWithCommit:
    """Adds the record of a call to the transaction of its change."""

    def __init__(self, sink: AuditSink, encoder: RecordEncoder, call: Call) -> None:
        self._sink, self._encoder, self._call = sink, encoder, call

    def before(self, transaction: Any) -> None:
        """Nothing precedes the change."""

    def after(self, transaction: Any, result: Any) -> None:
        """Insert the record of success: should the commit fail, the record goes with the change."""
        self._call.responses = 1
        self._sink.insert(transaction, self._encoder.encode(self._call, None), pending=False)


def audit(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Record the call's outcome, whichever step or handler decided it."""
    if method.audit_level == policy_pb2.AUDIT_LEVEL_NONE or road.audit is None:
        return onward
    sink = road.audit
    encoder = RecordEncoder(method, road.service, road.digest_key)

    async def store(call: Call, fault: Fault | None, *, pending: bool) -> None:
        entry = encoder.encode(call, fault)
        try:
            await (sink.close(entry) if pending else sink.append(entry))
        except Fault:
            if method.audit_required:
                raise
            _log.error("audit record lost", extra={"method": method.name, "audit_id": call.id})

    async def unary(call: Call) -> bytes | None:
        call.participants.append(_RecordWithCommit(sink, encoder, call))
        try:
            answer = await onward(call)
        except BaseException as error:
            if not call.committed:
                await _finish(store(call, outcome(call, error), pending=False))
            raise
        if not call.committed:
            call.responses = 1
            await store(call, None, pending=False)
        return answer

    async def stream(call: Call) -> bytes | None:
        opened = False

        async def open_record() -> None:
            nonlocal opened
            await sink.open(encoder.encode(call, None))
            opened = True

        call.opening.append(open_record)
        try:
            answer = await onward(call)
        except BaseException as error:
            await _finish(store(call, outcome(call, error), pending=opened))
            raise
        if answer is not None:
            call.responses = 1
        await store(call, None, pending=opened)
        return answer

    return stream if method.streams else unary


async def _finish(storing: Any) -> None:
    """Store to the end, although the call's task may be cancelled meanwhile."""
    await asyncio.shield(asyncio.ensure_future(storing))
