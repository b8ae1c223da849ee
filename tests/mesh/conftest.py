"""The whole mesh, started once for all tests that go through the edge."""

import random
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from cli.client.session import Session
from cli.mesh.control import start, stop
from cli.mesh.settings import DOMAINS, METRICS_OFFSET, MeshSettings
from cli.mesh.state import MeshState
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

WORKERS = {"spotify": 2}


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who is let in."""

    email: str
    password: str
    token: str
    name: str
    """The resource name: `users/{user}`."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call of this person carries."""
        return (("authorization", f"Bearer {self.token}"),)


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """A mesh on free ports with a state folder of its own."""

    settings: MeshSettings
    state: MeshState

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A channel to the edge."""
        with grpc.insecure_channel(f"127.0.0.1:{self.settings.http_port}") as channel:
            yield channel

    def account(self) -> Account:
        """A new person in a new tenant."""
        email, password = f"{secrets.token_hex(8)}@polyphony.example", secrets.token_urlsafe(24)
        with self.channel() as channel:
            session = Session(channel)
            assert session.sign_up(email, password, "Somebody")
            token = session.log_in(email, password)
            who = auth_service_pb2_grpc.AuthServiceStub(channel).WhoAmI(
                auth_service_pb2.WhoAmIRequest(), metadata=(("authorization", f"Bearer {token}"),), timeout=10
            )
        return Account(email, password, token, who.user.name)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Redis, Triton, every domain (spotify twice) and Envoy, all healthy."""
    settings = free_settings(tmp_path_factory.mktemp("mesh") / "home")
    try:
        yield RunningMesh(settings, start(settings, WORKERS))
    finally:
        stop(settings.home)


@pytest.fixture
def other_settings(mesh: RunningMesh, tmp_path: Path) -> Iterator[MeshSettings]:
    """Settings of a second mesh beside the running one; whatever was started with them is ended."""
    settings = free_settings(tmp_path / "home")
    yield settings
    stop(settings.home)


def free_settings(home: Path) -> MeshSettings:
    """Settings whose ports nobody holds at this moment."""
    single = random.sample([port for port in range(20_000, 24_000) if is_free(port)], 6)
    base = next(
        base for base in range(24_000 + 10 * random.randrange(300), 31_000, 10) if _block_is_free(base)
    )
    return MeshSettings(
        home=home,
        http_port=single[0],
        https_port=single[1],
        admin_port=single[2],
        redis_port=single[3],
        triton_port=single[4],
        triton_metrics_port=single[5],
        service_port=base,
    )


def _block_is_free(base: int) -> bool:
    ports = MeshSettings(service_port=base).worker_ports(dict.fromkeys(DOMAINS, 2))
    return all(
        is_free(port + offset) for found in ports.values() for port in found for offset in (0, METRICS_OFFSET)
    )


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of loopback."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
