"""The road as one interceptor of grpc.aio.

It takes each handler's deserializer and serializer away and does both on the road, so that malformed,
oversize, unauthenticated and cancelled calls are answered precisely and recorded like any other.
(grpc.aio itself answers malformed bytes with UNKNOWN and sends exception texts to the client.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias, cast

import grpc

from interceptors.call import Call
from interceptors.contract import EXEMPT_SERVICES, MethodContract
from interceptors.faults import Fault
from interceptors.ids import new_id
from interceptors.road import build_endpoint, build_road
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

STATUS_DETAILS_TRAILER = "grpc-status-details-bin"

CANCELLATION_SECONDS = 0.01
"""How long after the end of a stream its cancellation is waited for, where nothing can be sent that waits for it."""


def chain(services: list[str], **ports: Any) -> RoadInterceptor:
    """The whole road as the one interceptor of a grpc.aio server; arguments as of `build_road`.

    `grpc.aio.server(interceptors=[chain(["my.package.v1.MyService"], authenticator=..., ...)])`
    """
    return RoadInterceptor(build_road(services, **ports))


class RoadInterceptor(grpc.aio.ServerInterceptor):
    """Puts every call of a server on the road. Each method's way is built at its first call and kept."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self._handlers: dict[str, Handler | None] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of a method, wrapped; methods outside the contract are refused."""
        path: str = handler_call_details.method
        if path in self._handlers:
            return self._handlers[path]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if path[1:].partition("/")[0] not in EXEMPT_SERVICES:
            method = self.road.contract.get(path)
            handler = _refusing(path) if method is None else _on_the_road(self.road, method, handler)
        self._handlers[path] = handler
        return handler


def _on_the_road(road: Road, method: MethodContract, handler: Handler) -> Handler:
    requests, responses = method.descriptor.client_streaming, method.descriptor.server_streaming
    behaviour: Any = (
        (handler.stream_stream if responses else handler.stream_unary)
        if requests
        else (handler.unary_stream if responses else handler.unary_unary)
    )
    endpoint = build_endpoint(road, method, behaviour)

    async def one(body: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes | None:
        call = _call(method, context)
        call.body = body
        if responses:
            call.outgoing = context.write
        return await _answer(endpoint, call, context)

    async def many(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes | None:
        call = _call(method, context)
        ended = False

        async def receive() -> bytes | None:
            nonlocal ended
            if not ended:
                if (body := await context.read()) is not grpc.aio.EOF:
                    return cast("bytes", body)
                ended = True
                await _let_a_cancellation_arrive(call, context)
            return None

        call.incoming = receive
        if responses:
            call.outgoing = context.write
        return await _answer(endpoint, call, context)

    if requests:
        bind = grpc.stream_stream_rpc_method_handler if responses else grpc.stream_unary_rpc_method_handler
        return bind(many)
    bind = grpc.unary_stream_rpc_method_handler if responses else grpc.unary_unary_rpc_method_handler
    return bind(one)


async def _let_a_cancellation_arrive(call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Tell a stream that its caller cancelled from one that its caller finished.

    `read` gives EOF for both, and the cancellation follows a moment later: half a file would pass for
    the whole. Sending anything waits for it, if it comes; where the headers are sent already, time must do.
    """
    if call.responses:
        await asyncio.sleep(CANCELLATION_SECONDS)
    else:
        await context.send_initial_metadata(())


def _call(method: MethodContract, context: grpc.aio.ServicerContext[Any, Any]) -> Call:
    remaining = context.time_remaining()
    return Call(
        method=method,
        metadata=dict(context.invocation_metadata() or ()),  # type: ignore[arg-type]
        peer=context.peer(),
        id=new_id(),
        received=time.time_ns(),
        deadline=None if remaining is None else asyncio.get_running_loop().time() + remaining,
    )


async def _answer(
    endpoint: Endpoint, call: Call, context: grpc.aio.ServicerContext[Any, Any]
) -> bytes | None:
    try:
        answer = await endpoint(call)
    except Fault as fault:
        await _abort(context, fault, call)
    context.set_trailing_metadata(tuple(call.trailers.items()))
    return answer


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], fault: Fault, call: Call | None = None
) -> NoReturn:
    trailers = dict(call.trailers) if call is not None else {}
    trailers[STATUS_DETAILS_TRAILER] = fault.details()
    await context.abort(fault.code, fault.message, tuple(trailers.items()))
    raise AssertionError("abort returned")


def _refusing(path: str) -> Handler:
    """A handler for a method that the server registered but the contract does not know."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await _abort(
            context, Fault(reason_pb2.REASON_METHOD_UNKNOWN, f"{path[1:]} is not part of the contract.")
        )

    return grpc.stream_stream_rpc_method_handler(refuse)
