"""A whole mesh of its own, beside any other, for the benchmarks that need one."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from cli.demo.account import Listener, new_listener
from cli.mesh.control import start, stop
from cli.mesh.settings import DOMAINS, MeshSettings
from cli.mesh.state import MeshState
from polyphony.compliance.v1 import consent_service_pb2
from tests.mesh.conftest import free_settings


@dataclass(frozen=True, slots=True)
class LiveMesh:
    """Where a running mesh listens and which processes it has."""

    settings: MeshSettings
    state: MeshState

    @property
    def edge(self) -> str:
        """host:port of Envoy."""
        return f"127.0.0.1:{self.settings.http_port}"

    def service(self, domain: str) -> str:
        """host:port of the domain's process itself."""
        return f"127.0.0.1:{self.settings.worker_port(domain)}"

    def pids(self) -> dict[str, int]:
        """The process of each program by its name."""
        return {program.name: program.process.pid for program in self.state.programs if program.process}

    @contextmanager
    def listener(self, purposes: Sequence[int] = ()) -> Iterator[Listener]:
        """Somebody new who has consented to these purposes, on a channel to the edge."""
        with grpc.insecure_channel(self.edge) as channel:
            person = new_listener(channel)
            asked = consent_service_pb2.ListPurposesRequest(language_code="en")
            for notice in person.ask(person.consents.ListPurposes, asked).response.purposes:
                if notice.purpose in purposes:
                    grant = consent_service_pb2.GrantConsentRequest(
                        parent="users/me",
                        purpose=notice.purpose,
                        notice_version=notice.version,
                        language_code=notice.language_code,
                        request_id=str(uuid.uuid4()),
                    )
                    person.ask(person.consents.GrantConsent, grant)
            yield person


@contextmanager
def unlimited() -> Iterator[None]:
    """Lift the rate limits per caller for what is started meanwhile: one caller brings all the load."""
    names = [f"POLYPHONY_{domain.upper()}_LIMIT_{what}" for domain in DOMAINS for what in ("RATE", "BURST")]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1000000"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def free_home() -> Iterator[MeshSettings]:
    """Settings with an empty state folder and free ports; whatever is started with them is ended."""
    with tempfile.TemporaryDirectory(prefix="polyphony-bench-") as folder:
        settings = free_settings(Path(folder) / "home")
        try:
            yield settings
        finally:
            stop(settings.home)


@contextmanager
def live_mesh() -> Iterator[LiveMesh]:
    """A mesh that is healthy, without limits per caller."""
    with free_home() as settings, unlimited():
        yield LiveMesh(settings, start(settings, {}))
