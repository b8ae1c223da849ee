"""What travels on a channel to another service, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from interceptors.call import Call, enter_call
from interceptors.contract import Contract
from interceptors.faults import Fault, Precondition
from interceptors.identity import Identity
from polyphony.auth.v1 import auth_service_pb2  # noqa: F401 - registers the service's descriptor
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import user_data_service_pb2  # noqa: F401 - registers the service's descriptor
from services.runtime.channels import Channels, on_behalf_of, service_config_json
from services.runtime.service_identity import ServiceIdentity
from services.runtime.settings import ServiceSettings, service_config
from services.runtime.tokens import TokenTerms, identity_of

SERVICE = "polyphony.spotify.v1.UserDataService"
METHOD = Contract([SERVICE])[f"/{SERVICE}/ListPlays"]


class Settings(ServiceSettings):
    """Of a domain that exists in this test only."""

    model_config = service_config("garden")


class Callee:
    """Keeps what it hears and answers as told."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.seconds: float | None = None
        self.calls = 0
        self.fault: Fault | None = None
        self.down = 0
        self.endpoint = ""

    def _hear(self, context: Any) -> None:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        self.seconds = context.time_remaining()

    async def one(self, request: bytes, context: Any) -> bytes:
        self._hear(context)
        if self.calls <= self.down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        if self.fault:
            trailers = (("grpc-status-details-bin", self.fault.details()),)
            await context.abort(self.fault.code, self.fault.message, trailers)
        return request

    async def many(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self._hear(context)
        async for request in requests:
            yield request
        if self.fault:
            trailers = (("grpc-status-details-bin", self.fault.details()),)
            await context.abort(self.fault.code, self.fault.message, trailers)


@pytest.fixture
async def callee() -> AsyncIterator[Callee]:
    """A server that answers anything under the names of the contract."""
    made = Callee()
    server = grpc.aio.server()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(made.one) for name in ("ListPlays", "DeleteHistory")
    } | {"Many": grpc.stream_stream_rpc_method_handler(made.many)}
    server.add_registered_method_handlers(SERVICE, handlers)
    made.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield made
    await server.stop(0)


@pytest.fixture
def identity(tmp_path: Path) -> ServiceIdentity:
    """The identity of service garden, read from its file."""
    key = Ed25519PrivateKey.generate()
    file = tmp_path / "garden.service.pem"
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ServiceIdentity.from_file("garden", file, audience="polyphony")


@pytest.fixture
async def channels(tmp_path: Path, identity: ServiceIdentity) -> AsyncIterator[Channels]:
    """The channels of service garden."""
    made = Channels(Settings(home=tmp_path), identity)
    yield made
    await made.close()


Send = Callable[..., Awaitable[bytes]]


@pytest.fixture
def send(channels: Channels, callee: Callee) -> Send:
    """Calls ListPlays on behalf of whoever the running call is for."""
    stub: Send = channels.to(callee.endpoint, SERVICE).unary_unary(f"/{SERVICE}/ListPlays")
    return stub


def asserted(callee: Callee, identity: ServiceIdentity) -> Identity:
    """What the token that the callee got asserts."""
    scheme, _, token = callee.metadata["authorization"].partition(" ")
    assert scheme == "Bearer"
    return identity_of(token, identity.kid, identity._key.public_key(), TokenTerms("-", "polyphony"))


def running_call(**changes: Any) -> Call:
    """A call of user u1 that is being answered by this task."""
    call = Call(method=METHOD, metadata={}, peer="", id="call-1", received=0)
    call.identity = Identity(policy_pb2.CREDENTIAL_USER, "t1", "u1", "s1", ("listener",))
    call.purpose = policy_pb2.PURPOSE_LISTENING_PROFILE
    call.task = asyncio.current_task()
    for name, value in changes.items():
        setattr(call, name, value)
    enter_call(call)
    return call


async def test_identity_purpose_trace_parent_and_deadline_travel(
    send: Send, callee: Callee, identity: ServiceIdentity
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    running_call(trace_parent=trace, deadline=asyncio.get_running_loop().time() + 3)
    assert await send(b"x") == b"x"
    who = asserted(callee, identity)
    assert (who.tenant, who.user, who.actor) == ("t1", "u1", "service:garden")
    assert (who.purpose, who.roles) == ("listening-profile", ("service",))
    assert callee.metadata["traceparent"] == trace
    assert callee.metadata["polyphony-parent"] == "call-1"
    assert callee.seconds is not None
    assert 1 < callee.seconds <= 3.05  # the transport rounds up to its clock
    await send(b"x", timeout=1.0)
    assert callee.seconds <= 1.05


async def test_the_passport_cannot_be_replaced(send: Send, callee: Callee, identity: ServiceIdentity) -> None:
    running_call()
    await send(b"x", metadata=(("authorization", "Bearer x"), ("polyphony-parent", "y"), ("more", "z")))
    assert asserted(callee, identity).user == "u1"
    assert callee.metadata["polyphony-parent"] == "call-1"
    assert callee.metadata["more"] == "z"


async def test_a_call_whose_time_is_up_calls_nobody(send: Send, callee: Callee) -> None:
    running_call(deadline=asyncio.get_running_loop().time() - 0.01)
    with pytest.raises(Fault, match="DEADLINE_EXCEEDED"):
        await send(b"x")
    assert callee.calls == 0


async def test_outside_a_call_the_service_speaks_for_itself_or_for_a_jobs_person(
    send: Send, callee: Callee, identity: ServiceIdentity
) -> None:
    await send(b"x")
    assert asserted(callee, identity).user == "service:garden"
    with on_behalf_of("t2", "u2", policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS):
        await send(b"x")
    who = asserted(callee, identity)
    assert (who.tenant, who.user, who.purpose) == ("t2", "u2", "personalised-recommendations")
    await send(b"x")
    assert asserted(callee, identity).user == "service:garden"


async def test_what_a_call_left_behind_is_not_that_call(
    send: Send, callee: Callee, identity: ServiceIdentity
) -> None:
    left: list[asyncio.Task[None]] = []

    async def leftover() -> None:
        await asyncio.sleep(0.05)
        await send(b"x")

    async def answered() -> None:
        running_call()
        left.append(asyncio.create_task(leftover()))

    await asyncio.create_task(answered())
    await left[0]
    assert asserted(callee, identity).user == "service:garden"


async def test_a_channel_for_itself_never_acts_for_anybody(
    channels: Channels, callee: Callee, identity: ServiceIdentity
) -> None:
    running_call()
    await channels.for_itself(callee.endpoint).unary_unary(f"/{SERVICE}/ListPlays")(b"x")
    assert asserted(callee, identity).user == "service:garden"
    assert "polyphony-parent" not in callee.metadata


async def test_a_refusal_comes_back_as_the_same_fault(send: Send, callee: Callee) -> None:
    callee.fault = Fault(
        reason_pb2.REASON_CONSENT_WITHDRAWN,
        "Withdrawn.",
        preconditions=[Precondition("CONSENT", "listening-profile", "gone")],
        retry_after=1.5,
        metadata={"purpose": "listening-profile"},
    )
    with pytest.raises(Fault) as refused:
        await send(b"x")
    fault = refused.value
    assert (fault.name, fault.message, fault.retry_after) == ("CONSENT_WITHDRAWN", "Withdrawn.", 1.5)
    assert fault.preconditions == (Precondition("CONSENT", "listening-profile", "gone"),)
    assert fault.metadata == {"purpose": "listening-profile"}


async def test_nobody_there_is_a_dependency_that_is_unavailable(channels: Channels) -> None:
    send = channels.to("127.0.0.1:1", SERVICE).unary_unary(f"/{SERVICE}/DeleteHistory")
    with pytest.raises(Fault) as refused:
        await send(b"x", timeout=2.0)
    assert refused.value.name == "DEPENDENCY_UNAVAILABLE"
    assert refused.value.metadata == {"endpoint": "127.0.0.1:1"}


async def test_only_idempotent_methods_are_tried_again(channels: Channels, callee: Callee) -> None:
    channel = channels.to(callee.endpoint, SERVICE)
    callee.down = 2
    assert await channel.unary_unary(f"/{SERVICE}/ListPlays")(b"x") == b"x"
    assert callee.calls == 3
    config = service_config_json(["polyphony.auth.v1.AuthService"])
    names = {each["method"] for each in config["methodConfig"][0]["name"]}
    assert "GetJsonWebKeySet" in names
    assert "LogIn" not in names


async def test_a_method_that_may_not_be_repeated_is_not(channels: Channels, callee: Callee) -> None:
    callee.down = 1
    with pytest.raises(Fault, match="DEPENDENCY_UNAVAILABLE"):
        await channels.to(callee.endpoint).unary_unary(f"/{SERVICE}/DeleteHistory")(b"x")
    assert callee.calls == 1


async def test_streams_are_iterated_and_end_with_their_fault(channels: Channels, callee: Callee) -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    many = channels.to(callee.endpoint).stream_stream(f"/{SERVICE}/Many")
    assert [each async for each in many(two())] == [b"1", b"2"]
    callee.fault = Fault(reason_pb2.REASON_SHUTTING_DOWN)
    answers = many(two())
    assert [await anext(answers), await anext(answers)] == [b"1", b"2"]
    with pytest.raises(Fault, match="SHUTTING_DOWN"):
        await anext(answers)


async def test_several_addresses_are_balanced_and_a_dead_one_is_left_out(
    channels: Channels, callee: Callee
) -> None:
    send = channels.to(f"{callee.endpoint},127.0.0.1:1", SERVICE).unary_unary(f"/{SERVICE}/ListPlays")
    for _ in range(5):
        assert await send(b"x") == b"x"
