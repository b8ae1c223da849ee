"""Services as members of a mesh: they follow each other over real connections, and refuse what they cannot know."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.mesh.identity import make_keys
from polyphony.auth.v1 import auth_service_pb2 as auth_pb
from polyphony.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from polyphony.compliance.v1 import consent_service_pb2 as consent_pb
from polyphony.compliance.v1.consent_service_pb2_grpc import ConsentServiceStub
from services.auth import settings as auth_settings
from services.auth import wiring as auth_wiring
from services.compliance import settings as compliance_settings
from services.compliance import wiring as compliance_wiring
from services.runtime.hosting import Service
from services.runtime.lifecycle import Host

SECRET = "correct horse battery staple"


def free_port() -> int:
    """A TCP port on loopback that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mesh:
    """The state folder and the ports of a small mesh."""

    def __init__(self, home: Path) -> None:
        make_keys(home / "keys", ["auth", "compliance"])
        self.home = home
        self.auth_port, self.compliance_port = free_port(), free_port()
        self.shared: dict[str, Any] = {
            "home": home,
            "auth_endpoint": f"127.0.0.1:{self.auth_port}",
            "compliance_endpoint": f"127.0.0.1:{self.compliance_port}",
            "redis_url": "redis://127.0.0.1:1/0",
            "metrics_port": 0,
            "drain_seconds": 0,
            "grace_seconds": 2,
            "feed_lease_seconds": 4.0,
        }

    def auth(self, **changes: Any) -> Service:
        given = {**self.shared, "port": self.auth_port, "argon2_memory_kib": 64, **changes}
        return auth_wiring.build(auth_settings.Settings(**given))

    def compliance(self, **changes: Any) -> Service:
        given = {**self.shared, "port": self.compliance_port, **changes}
        return compliance_wiring.build(compliance_settings.Settings(**given))


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Each in a host of its own, as if each had a process."""
    hosts = [Host([service]) for service in services]
    for host in hosts:
        await host.start()
    try:
        yield
    finally:
        for host in reversed(hosts):
            await host.stop()


async def status(port: int, service: str = "") -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service)
        )
        return int(answer.status)


async def until_status(port: int, wanted: int, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while await status(port) != wanted:  # noqa: ASYNC110 - the network has no event
            await asyncio.sleep(0.02)


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def log_in(port: int) -> tuple[tuple[str, str], ...]:
    """The metadata of a new account's new session."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = AuthServiceStub(channel)
        email = f"{time.monotonic_ns()}@example.org"
        await stub.SignUp(auth_pb.SignUpRequest(email=email, password=SECRET))
        answer = await stub.LogIn(auth_pb.LogInRequest(email=email, password=SECRET))
        return (("authorization", f"Bearer {answer.tokens.access_token}"),)


async def log_out(port: int, session: tuple[tuple[str, str], ...]) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await AuthServiceStub(channel).LogOut(auth_pb.LogOutRequest(), metadata=session)
    return time.monotonic() - began


async def list_consents(port: int, session: tuple[tuple[str, str], ...]) -> str:
    """`OK`, or the reason of the refusal."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = consent_pb.ListConsentsRequest(parent="users/me")
        try:
            await ConsentServiceStub(channel).ListConsents(request, metadata=session, timeout=5)
        except grpc.aio.AioRpcError as error:
            for key, value in error.trailing_metadata() or ():
                if key == "grpc-status-details-bin":
                    info = error_details_pb2.ErrorInfo()
                    status_pb2.Status.FromString(value).details[0].Unpack(info)  # type: ignore[arg-type]
                    return info.reason
            return error.code().name
        return "OK"


async def test_a_session_is_over_everywhere_when_log_out_answers(mesh: Mesh) -> None:
    async with running(mesh.auth(), mesh.compliance()):
        await until_status(mesh.compliance_port, SERVING)
        for _ in range(5):
            session = await log_in(mesh.auth_port)
            assert await list_consents(mesh.compliance_port, session) == "OK"
            assert await log_out(mesh.auth_port, session) < 3.5, "it waited for a lease instead of an answer"
            assert await list_consents(mesh.compliance_port, session) == "SESSION_REVOKED"


async def test_a_service_refuses_and_says_so_when_its_authority_is_gone_and_recovers(mesh: Mesh) -> None:
    mesh.shared["feed_lease_seconds"] = 1.0
    async with running(mesh.compliance()):
        async with running(mesh.auth()):
            await until_status(mesh.compliance_port, SERVING)
            session = await log_in(mesh.auth_port)
            assert await list_consents(mesh.compliance_port, session) == "OK"
        await until_status(mesh.compliance_port, NOT_SERVING)
        assert await list_consents(mesh.compliance_port, session) == "POLICY_STALE"
        async with running(mesh.auth()):
            await until_status(mesh.compliance_port, SERVING)
            assert await list_consents(mesh.compliance_port, session) == "OK"


async def test_a_quick_restart_of_the_authority_is_not_noticed(mesh: Mesh) -> None:
    mesh.shared["feed_lease_seconds"] = 10.0
    async with running(mesh.compliance()):
        async with running(mesh.auth()):
            await until_status(mesh.compliance_port, SERVING)
            session = await log_in(mesh.auth_port)
        assert await list_consents(mesh.compliance_port, session) == "OK"
        async with running(mesh.auth()):
            assert await list_consents(mesh.compliance_port, session) == "OK"


async def test_two_workers_know_of_each_others_followers(mesh: Mesh) -> None:
    """Compliance follows one worker of auth; the log-out happens at the other."""
    other = free_port()
    async with running(mesh.auth(), mesh.auth(port=other, worker="1"), mesh.compliance()):
        await until_status(mesh.compliance_port, SERVING)
        await until_status(other, SERVING)
        for _ in range(3):
            session = await log_in(mesh.auth_port)
            assert await list_consents(mesh.compliance_port, session) == "OK"
            assert await log_out(other, session) < 3.5, "it waited for a lease instead of an answer"
            assert await list_consents(mesh.compliance_port, session) == "SESSION_REVOKED"


async def test_all_domains_may_share_a_process(mesh: Mesh) -> None:
    services = [mesh.auth(), mesh.compliance()]
    async with Host(services):
        await until_status(mesh.auth_port, SERVING)
        await until_status(mesh.compliance_port, SERVING)
        session = await log_in(mesh.auth_port)
        assert await list_consents(mesh.compliance_port, session) == "OK"


async def test_a_stop_ends_open_feeds_at_once(mesh: Mesh) -> None:
    host = Host([mesh.auth(grace_seconds=20)])
    await host.start()
    async with running(mesh.compliance()):
        await until_status(mesh.compliance_port, SERVING)
        began = time.monotonic()
        await host.stop()
        assert time.monotonic() - began < 10.0, "the stop waited for the stream of a follower"
