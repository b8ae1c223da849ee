"""Makes a retry with the same request id the same call (AIP-155)."""

from __future__ import annotations

import hashlib
from typing import Any

from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.ports import IdempotencyStore, Replayed, ReplayKey
from interceptors.step import Endpoint, Road


class _ReplayWithCommit:
    """Claims the request id and keeps the answer, both in the transaction of the change."""

    def __init__(self, store: IdempotencyStore, key: ReplayKey) -> None:
        self._store, self._key = store, key

    def before(self, transaction: Any) -> None:
        """Claim the id; raises Replayed where the change was made before."""
        self._store.reserve(transaction, self._key)

    def after(self, transaction: Any, result: Any) -> None:
        """Keep the answer. The change of a deduplicated method returns its response message."""
        if not isinstance(result, Message):
            raise TypeError(
                f"the write of {self._key.method} must return its response message, not {type(result)}"
            )
        self._store.complete(transaction, self._key, result.SerializeToString())


def idempotency(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Answer a replayed call with the stored response, having changed nothing."""
    if not method.retention or road.idempotency is None or method.streams:
        return onward
    store = road.idempotency

    async def once(call: Call) -> bytes | None:
        request_id: str = getattr(call.request, "request_id", "")
        if not request_id:
            return await onward(call)
        assert call.body is not None
        key = ReplayKey(
            tenant=call.identity.tenant,
            actor=call.identity.user,
            method=method.name,
            request_id=request_id,
            digest=hashlib.sha256(call.body).digest(),
            retention=method.retention,
        )
        call.participants.insert(0, _ReplayWithCommit(store, key))
        try:
            return await onward(call)
        except Replayed as replayed:
            call.replayed = True
            return replayed.response

    return once
