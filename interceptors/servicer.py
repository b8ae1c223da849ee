"""The end of the road: calls a grpc servicer's method with decoded messages, whatever its arity."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Aborted
from interceptors.step import Endpoint, Road


class ServicerContext:
    """What a servicer's method sees of its call: the part of grpc.aio.ServicerContext that servicers use.

    It belongs to no transport, so that the same servicer answers in memory as it does on a socket.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._code = grpc.StatusCode.OK
        self._details = ""

    async def read(self) -> Any:
        """The next request of a stream, or grpc.aio.EOF."""
        message = await self._call.read()
        return grpc.aio.EOF if message is None else message

    async def write(self, message: Message) -> None:
        """Send one response of a stream."""
        await self._call.write(message)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> NoReturn:
        """End the call with a status. Code of this project raises Fault instead."""
        self.set_trailing_metadata(trailing_metadata)
        raise Aborted(code, details)

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Add trailers to those of the road."""
        self._call.trailers.update(metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status to end with when the method returns."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The text that goes with `set_code`."""
        self._details = details

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The request's metadata."""
        return tuple(self._call.metadata.items())

    def peer(self) -> str:
        """Where the call came from, as the transport names it."""
        return self._call.peer

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, or None without one."""
        if self._call.deadline is None:
            return None
        return max(0.0, self._call.deadline - asyncio.get_running_loop().time())

    def check_status(self) -> None:
        """Raise what `set_code` asked for."""
        if self._code is not grpc.StatusCode.OK:
            raise Aborted(self._code, self._details)


def servicer_endpoint(road: Road, method: MethodContract, behaviour: Callable[..., Any]) -> Endpoint:
    """The endpoint that runs `behaviour`, a method of a servicer."""
    if not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour)):
        behaviour = _on_a_thread(behaviour, method)

    async def answer_once(call: Call, requests: Any) -> bytes | None:
        context = ServicerContext(call)
        response: Message = await behaviour(requests, context)
        context.check_status()
        return response.SerializeToString()

    async def answer_many(call: Call, requests: Any) -> bytes | None:
        context = ServicerContext(call)
        running = behaviour(requests, context)
        if hasattr(running, "__aiter__"):
            async for message in running:
                await call.write(message)
        else:
            await running
        context.check_status()
        return None

    answer = answer_many if method.descriptor.server_streaming else answer_once

    async def unary(call: Call) -> bytes | None:
        call.step = ""
        return await answer(call, call.request)

    async def stream(call: Call) -> bytes | None:
        for hook in call.opening:
            await hook()
        call.step = ""
        road.streams.add(call)
        try:
            call.recheck()
            return await answer(call, _requests(call) if call.incoming is not None else call.request)
        finally:
            road.streams.discard(call)

    return stream if method.streams else unary


async def _requests(call: Call) -> AsyncIterator[Message]:
    while (message := await call.read()) is not None:
        yield message


def _on_a_thread(behaviour: Callable[..., Any], method: MethodContract) -> Callable[..., Any]:
    """A plain function answers on a worker thread; only one request and one response can be given that way."""
    if method.streams:
        raise TypeError(f"{method.name} streams: its servicer method must be async")

    async def answered(request: Message, context: ServicerContext) -> Any:
        return await asyncio.to_thread(behaviour, request, context)

    return answered
