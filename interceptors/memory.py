"""The road without a socket: calls a servicer in the same process, over the same steps, for tests and simulation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from interceptors.call import Call
from interceptors.faults import Fault
from interceptors.ids import new_id
from interceptors.road import build_endpoint
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2


class MemoryTransport:
    """Answers calls to one servicer. `(call, request bytes) -> response bytes`, as on any transport."""

    def __init__(self, road: Road, servicer: object) -> None:
        self._road = road
        self._servicer = servicer
        self._endpoints: dict[str, Endpoint] = {}

    async def unary(
        self, path: str, body: bytes, metadata: Mapping[str, str] | None = None, seconds: float | None = None
    ) -> tuple[bytes, Mapping[str, str | bytes]]:
        """One request, one response: its bytes and the trailers. Raises Fault."""
        call = self._call(path, metadata, seconds)
        call.body = body
        # A task of its own, as on a socket: the caller's own current call stays the caller's.
        answer = await asyncio.create_task(_answer(self._endpoint(path), call))
        assert answer is not None
        return answer, call.trailers

    async def stream(
        self,
        path: str,
        bodies: bytes | AsyncIterable[bytes],
        metadata: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[bytes]:
        """Any streaming call: one request's bytes or several; yields each response's bytes. Raises Fault."""
        call = self._call(path, metadata, seconds)
        sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        call.outgoing = sent.put
        if isinstance(bodies, bytes):
            call.body = bodies
        else:
            iterator = aiter(bodies)

            async def receive() -> bytes | None:
                return await anext(iterator, None)

            call.incoming = receive

        async def run() -> None:
            try:
                if (answer := await self._endpoint(path)(call)) is not None:
                    await sent.put(answer)
            finally:
                sent.put_nowait(None)

        task = asyncio.create_task(run())
        try:
            while (body := await sent.get()) is not None:
                yield body
            await task
        finally:
            task.cancel()

    def _call(self, path: str, metadata: Mapping[str, str] | None, seconds: float | None) -> Call:
        method = self._road.contract.get(path)
        if method is None:
            raise Fault(reason_pb2.REASON_METHOD_UNKNOWN, f"{path[1:]} is not part of the contract.")
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        return Call(method, dict(metadata or {}), "memory", new_id(), time.time_ns(), deadline)

    def _endpoint(self, path: str) -> Endpoint:
        if (endpoint := self._endpoints.get(path)) is None:
            behaviour: Any = getattr(self._servicer, path.rpartition("/")[2])
            endpoint = self._endpoints[path] = build_endpoint(
                self._road, self._road.contract[path], behaviour
            )
        return endpoint


async def _answer(endpoint: Endpoint, call: Call) -> bytes | None:
    return await endpoint(call)
