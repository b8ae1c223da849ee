"""A grpc.aio channel that adds a passport to each call and answers failures as faults."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from interceptors.faults import ERROR_DOMAIN, Fault, FieldViolation, Precondition
from polyphony.errors.v1 import reason_pb2

Metadata = Mapping[str, str] | Sequence[tuple[str, str]]
_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Passport:
    """What one call carries: metadata, and how many seconds it may take at most (None: as its caller says)."""

    metadata: Mapping[str, str]
    seconds: float | None

    def bearing(self, token: str) -> Passport:
        """This passport with a bearer token."""
        return replace(self, metadata={**self.metadata, "authorization": f"Bearer {token}"})

    def within(self, timeout: float | None) -> float | None:
        """The shorter one of what is left and what the caller allows, in seconds."""
        if timeout is None or self.seconds is None:
            return timeout if self.seconds is None else self.seconds
        return min(timeout, self.seconds)


class CarryingChannel(grpc.aio.Channel):
    """Wraps `channel` to `endpoint`; each call asks `passport` for what to carry.

    Calls are awaited (one response) or iterated and closed like any async generator (several). A caller's own metadata
    may add to the passport, not replace what is in it. What a stub's methods return is less than grpc's own call
    objects, hence `Any`: none of those offers anything that a domain should rely on.
    """

    def __init__(self, channel: grpc.aio.Channel, endpoint: str, passport: Callable[[], Passport]) -> None:
        self._channel = channel
        self._endpoint = endpoint
        self._passport = passport

    def unary_unary(self, method: str, *codec: Any, **options: Any) -> Any:
        """A callable that takes a request and is awaited."""
        return self._awaited(self._channel.unary_unary(method, *codec, **options))

    def stream_unary(self, method: str, *codec: Any, **options: Any) -> Any:
        """A callable that takes an async iterator of requests and is awaited."""
        return self._awaited(self._channel.stream_unary(method, *codec, **options))

    def unary_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """A callable that takes a request and is iterated."""
        return self._iterated(self._channel.unary_stream(method, *codec, **options))

    def stream_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """A callable that takes an async iterator of requests and is iterated."""
        return self._iterated(self._channel.stream_stream(method, *codec, **options))

    def _awaited(self, callable_: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - the name that stubs promise
            metadata: Metadata = (),
        ) -> Any:
            passport = self._passport()
            try:
                return await callable_(
                    request, timeout=passport.within(timeout), metadata=_joined(metadata, passport)
                )
            except grpc.aio.AioRpcError as error:
                raise fault_of_rpc(error, self._endpoint) from None

        return call

    def _iterated(self, callable_: Any) -> Callable[..., AsyncGenerator[Any, None]]:
        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - the name that stubs promise
            metadata: Metadata = (),
        ) -> AsyncGenerator[Any, None]:
            passport = self._passport()
            stream: Any = callable_(
                request, timeout=passport.within(timeout), metadata=_joined(metadata, passport)
            )
            try:
                responses: AsyncIterable[Any] = stream
                async for response in responses:
                    yield response
            except grpc.aio.AioRpcError as error:
                raise fault_of_rpc(error, self._endpoint) from None
            finally:
                stream.cancel()

        return call

    async def close(self, grace: float | None = None) -> None:
        """Close the channel."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> CarryingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _joined(own: Metadata, passport: Passport) -> tuple[tuple[str, str], ...]:
    return tuple({**dict(own), **passport.metadata}.items())


def fault_of_rpc(error: grpc.aio.AioRpcError, endpoint: str) -> Fault:
    """The fault that another service answered with, detail by detail; DEPENDENCY_UNAVAILABLE where no service of the
    mesh answered at all, DEADLINE_EXCEEDED where the time was up, INTERNAL for what nobody declared."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            fault = _declared(value)
            if fault is not None:
                return fault
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Fault(reason_pb2.REASON_DEADLINE_EXCEEDED)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return Fault(
                reason_pb2.REASON_DEPENDENCY_UNAVAILABLE, retry_after=0.5, metadata={"endpoint": endpoint}
            )
        case _:
            return Fault(reason_pb2.REASON_INTERNAL, metadata={"endpoint": endpoint})


def _declared(status: bytes) -> Fault | None:
    try:
        parsed = status_pb2.Status.FromString(status)
    except ValueError:
        return None
    info, fields, preconditions = error_details_pb2.ErrorInfo(), [], []
    retry_after: float | None = None
    for detail in parsed.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            fields = [FieldViolation(each.field, each.description) for each in bad.field_violations]
        elif detail.Is(error_details_pb2.PreconditionFailure.DESCRIPTOR):
            failed = error_details_pb2.PreconditionFailure.FromString(detail.value)
            preconditions = [
                Precondition(each.type, each.subject, each.description) for each in failed.violations
            ]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_after = (
                error_details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToNanoseconds() / 1e9
            )
    reason = reason_pb2.Reason.DESCRIPTOR.values_by_name.get(f"REASON_{info.reason}")
    if info.domain != ERROR_DOMAIN or reason is None:
        return None
    metadata = {key: value for key, value in info.metadata.items() if key != "remedy"}
    return Fault(
        cast("reason_pb2.Reason.ValueType", reason.number),
        parsed.message,
        fields=fields,
        preconditions=preconditions,
        retry_after=retry_after,
        metadata=metadata,
    )
