"""The echo service on the road, over each transport, with ports whose every decision a test can set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import grpc
import pytest

from interceptors import Fault, build_road, current_call
from interceptors.aio import RoadInterceptor
from interceptors.step import Road
from polyphony.errors.v1 import reason_pb2
from tests.fixtures.callers import AioCaller, MemoryCaller, Outcome, Requests
from tests.fixtures.echo import echo_modules
from tests.fixtures.ports import Ports, write

ECHO = "echo.v1.EchoService"
TRANSPORTS = ("grpc.aio", "memory")


@pytest.fixture(scope="session")
def pb() -> ModuleType:
    """`echo_pb2`."""
    return echo_modules()[0]


class Echo:
    """Answers what it was sent. Some texts ask for something else."""

    def __init__(self) -> None:
        self.pb, stubs = echo_modules()
        self.stubs = stubs
        self.changes: list[str] = []
        self.seen: list[Any] = []
        self.ended: list[str] = []
        self.trace_parents: list[str] = []

    async def _heed(self, text: str) -> None:
        if text == "boom":
            raise ValueError("s3cret-connection-string")
        if text == "abort":
            raise Fault(reason_pb2.REASON_STATE_CONFLICT, "Not now.")
        if text == "cancel":
            raise asyncio.CancelledError
        if text == "sleep":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.ended.append(text)
                raise

    async def Echo(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        call = current_call()
        assert call is not None
        self.trace_parents.append(call.trace_parent)
        await self._heed(request.text)
        return self.pb.EchoResponse(text=request.text, parent=request.parent)

    async def Change(self, request: Any, context: Any) -> Any:
        def change() -> Any:
            self.changes.append(request.text)
            return self.pb.EchoResponse(text=f"{request.text} {len(self.changes)}")

        response = await write(change, fail_at_commit=request.text == "full")
        await self._heed(request.text)
        return response

    async def Collect(self, requests: Any, context: Any) -> Any:
        texts = []
        async for request in requests:
            await self._heed(request.text)
            texts.append(request.text)
        return self.pb.EchoResponse(text=",".join(texts))

    async def Repeat(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(request.count):
            yield self.pb.EchoResponse(text=request.text, parent=request.parent)
        await self._heed(request.text)

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            await self._heed(request.text)
            yield self.pb.EchoResponse(text=request.text)

    async def Ping(self, request: Any, context: Any) -> Any:
        await self._heed(request.text)
        return self.pb.EchoResponse(text=request.text)


@dataclass
class World:
    """An echo service on its road: its ports, its servicer, and how to call it."""

    ports: Ports
    servicer: Echo
    caller: Any
    transport: str
    road: Road

    async def call(
        self,
        method: str,
        requests: Requests,
        *,
        token: str | None = "good",  # noqa: S107
        seconds: float | None = None,
        arrived: Callable[[Any], None] | None = None,
        **metadata: str,
    ) -> Outcome:
        """Call a method of the echo service by its short name; `polyphony_purpose` becomes `polyphony-purpose`."""
        sent = {key.replace("_", "-"): value for key, value in metadata.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        outcome: Outcome = await self.caller.call(f"/{ECHO}/{method}", requests, sent, seconds, arrived)
        return outcome

    @property
    def record(self) -> Any:
        """The one record of the one call that was made."""
        return self.ports.audit.only

    async def settled(self) -> None:
        """Wait until every call that was begun has left its record."""
        for _ in range(500):
            if not self.ports.audit.pending and not self.ports.limiter.inside:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("a call did not end")


@asynccontextmanager
async def serve(
    transport: str, ports: Ports | None = None, servicer: Echo | None = None
) -> AsyncIterator[World]:
    """The echo service over one transport."""
    ports, servicer = ports or Ports(), servicer or Echo()
    road = build_road([ECHO], service="echo-0", digest_key=b"k" * 32, **vars(ports))
    async with AsyncExitStack() as stack:
        if transport == "memory":
            caller: Any = MemoryCaller(road, servicer)
        else:
            server = grpc.aio.server(interceptors=[RoadInterceptor(road)])
            servicer.stubs.add_EchoServiceServicer_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            caller = AioCaller(channel, road.contract)
        yield World(ports, servicer, caller, transport, road)


@pytest.fixture(params=TRANSPORTS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The echo service, over each transport in turn."""
    async with serve(request.param) as world:
        yield world


@pytest.fixture
async def memory() -> AsyncIterator[World]:
    """The echo service in memory, for what has nothing to do with a transport."""
    async with serve("memory") as world:
        yield world
