"""The auth service on its real road, over a socket."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import jwt
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from cli.mesh.identity import make_keys
from polyphony.auth.v1 import auth_service_pb2 as pb
from polyphony.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from polyphony.auth.v1.authorization_feed_service_pb2_grpc import AuthorizationFeedServiceStub
from services.auth.settings import Settings
from services.auth.wiring import build
from services.runtime.authorization_state import AuthorizationState
from services.runtime.channels import Channels
from services.runtime.lifecycle import Host
from services.runtime.service_identity import ServiceIdentity

PASSWORD = "purple llama sings at noon"


@dataclass
class Door:
    """A client of a running auth service."""

    stub: AuthServiceStub
    port: int
    settings: Settings

    async def sign_up(self, email: str = "ada@example.org", **changes: str) -> pb.SignUpResponse:
        request = pb.SignUpRequest(email=email, password=PASSWORD, **changes)
        return await self.stub.SignUp(request)

    async def log_in(self, email: str = "ada@example.org", password: str = PASSWORD) -> pb.LogInResponse:
        return await self.stub.LogIn(pb.LogInRequest(email=email, password=password))

    async def who_am_i(self, token: str) -> pb.WhoAmIResponse:
        return await self.stub.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(token))

    async def log_out(self, token: str) -> pb.LogOutResponse:
        return await self.stub.LogOut(pb.LogOutRequest(), metadata=bearer(token))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def reason(call: object) -> str:
    """The reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason


async def served(channel: grpc.aio.Channel) -> None:
    """Returns when the service says that it takes calls: its own feed has reached it."""
    async with asyncio.timeout(10):
        async for answer in HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


@contextlib.asynccontextmanager
async def serving(home: Path, url: str) -> AsyncIterator[Door]:
    make_keys(home / "keys", ["auth", "spotify"])
    settings = Settings(
        home=home,
        port=0,
        metrics_port=0,
        database_url=url,
        argon2_memory_kib=64,
        argon2_iterations=1,
        drain_seconds=0,
        compliance_endpoint="127.0.0.1:1",  # Nobody there: records wait in the outbox.
    )
    service = build(settings)
    async with Host([service]), grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        door = Door(AuthServiceStub(channel), service.port, settings)
        await served(channel)
        yield door


@pytest.fixture
async def door(tmp_path: Path, database_url: str) -> AsyncIterator[Door]:
    async with serving(tmp_path, database_url) as door:
        yield door


async def test_a_person_signs_up_logs_in_and_is_known(door: Door) -> None:
    signed_up = (await door.sign_up(display_name="Ada", tenant_display_name="Ada's label")).user
    logged_in = await door.log_in()
    me = await door.who_am_i(logged_in.tokens.access_token)
    assert me.user == logged_in.user == signed_up
    assert me.session == logged_in.tokens.session
    assert (me.user.email, me.user.display_name, list(me.user.roles)) == (
        "ada@example.org",
        "Ada",
        ["owner", "listener"],
    )
    assert logged_in.tokens.expires_in.ToSeconds() == 900


async def test_the_published_keys_verify_its_tokens_for_anyone(door: Door) -> None:
    await door.sign_up()
    token = (await door.log_in()).tokens.access_token
    answer = await door.stub.GetJsonWebKeySet(pb.GetJsonWebKeySetRequest())
    keys = {key.kid: {name.name: value for name, value in key.ListFields()} for key in answer.keys}
    assert {kid.rpartition(":")[0] for kid in keys} == {"", "service:auth", "service:spotify"}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
    claims = jwt.decode(
        token,
        key,
        audience=door.settings.token_audience,
        issuer=door.settings.token_issuer,
        algorithms=["EdDSA"],
    )
    assert claims["roles"] == ["owner", "listener"]


async def test_the_call_after_a_log_out_is_refused(door: Door) -> None:
    await door.sign_up()
    tokens, other = (await door.log_in()).tokens, (await door.log_in()).tokens
    await door.who_am_i(tokens.access_token)
    await door.log_out(tokens.access_token)
    assert await reason(door.who_am_i(tokens.access_token)) == "SESSION_REVOKED"
    assert await reason(door.log_out(tokens.access_token)) == "SESSION_REVOKED"
    refresh = door.stub.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token))
    assert await reason(refresh) == "REFRESH_TOKEN_INVALID"
    assert (await door.who_am_i(other.access_token)).session == other.session


async def test_a_stolen_refresh_token_ends_the_thief_too(door: Door) -> None:
    """With no grace left, the second use of a token ends the session, access tokens included."""
    await door.sign_up()
    first = (await door.log_in()).tokens
    refreshed = [first]
    for _ in range(20):  # More rotations than a session remembers.
        request = pb.RefreshRequest(refresh_token=refreshed[-1].refresh_token)
        refreshed.append((await door.stub.Refresh(request)).tokens)
    again = door.stub.Refresh(pb.RefreshRequest(refresh_token=first.refresh_token))
    assert await reason(again) == "REFRESH_TOKEN_INVALID"
    assert await reason(door.who_am_i(refreshed[-1].access_token)) == "SESSION_REVOKED"


async def test_a_repeated_sign_up_is_one_account_and_tells_nothing_apart(door: Door) -> None:
    request_id = str(uuid.uuid4())
    first = await door.sign_up(request_id=request_id)
    assert await door.sign_up(request_id=request_id) == first
    assert await reason(door.sign_up("bob@example.org", request_id=request_id)) == "REQUEST_ID_REUSED"
    assert await reason(door.sign_up()) == "RESOURCE_EXISTS"
    assert await reason(door.log_in("ada@example.org", "wrong")) == "LOGIN_FAILED"
    assert await reason(door.log_in("nobody@example.org")) == "LOGIN_FAILED"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.SignUpRequest(email="not an address", password=PASSWORD), "REQUEST_INVALID"),
        (pb.SignUpRequest(email="a@example.org", password="short"), "REQUEST_INVALID"),
        (pb.SignUpRequest(email="a@example.org", password="password123456"), "PASSWORD_TOO_WEAK"),
    ],
)
async def test_a_bad_sign_up_is_refused(door: Door, request_: Message, expected: str) -> None:
    assert await reason(door.stub.SignUp(request_)) == expected


async def test_without_a_token_or_with_a_forged_one_nobody_is_anybody(door: Door) -> None:
    await door.sign_up()
    token = (await door.log_in()).tokens.access_token
    assert await reason(door.stub.WhoAmI(pb.WhoAmIRequest())) == "CREDENTIAL_MISSING"
    assert await reason(door.who_am_i(token[:-8] + "AAAAAAAA")) == "CREDENTIAL_INVALID"
    feed = AuthorizationFeedServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{door.port}"))
    call = feed.SyncAuthorization(iter(()), metadata=bearer(token))
    assert await reason(call.read()) == "CREDENTIAL_KIND_NOT_ACCEPTED"


async def test_another_service_knows_of_a_log_out_before_it_is_answered(door: Door) -> None:
    await door.sign_up()
    logged_in = (await door.log_in()).tokens
    keys = door.settings.home / "keys"
    identity = ServiceIdentity.from_file(
        "spotify", keys / "spotify.service.pem", audience=door.settings.token_audience
    )
    channels = Channels(door.settings, identity)
    channel = channels.for_itself(f"127.0.0.1:{door.port}", "polyphony.auth.v1.AuthorizationFeedService")
    state = AuthorizationState(AuthorizationFeedServiceStub(channel).SyncAuthorization, follower="spotify-0")
    following = asyncio.create_task(state.follower.run())
    try:
        await state.follower.ready(5)
        state.check_session(logged_in.session)
        await door.log_out(logged_in.access_token)
        with pytest.raises(Exception, match="SESSION_REVOKED"):
            state.check_session(logged_in.session)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await channels.close()


async def test_tokens_and_sessions_outlive_a_restart(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, database_url) as door:
        await door.sign_up()
        tokens = (await door.log_in()).tokens
        ended = (await door.log_in()).tokens
        await door.log_out(ended.access_token)
    async with serving(tmp_path, database_url) as door:
        assert (await door.who_am_i(tokens.access_token)).session == tokens.session
        assert await reason(door.who_am_i(ended.access_token)) == "SESSION_REVOKED"
        request = pb.RefreshRequest(refresh_token=tokens.refresh_token)
        assert (await door.stub.Refresh(request)).tokens.session == tokens.session
