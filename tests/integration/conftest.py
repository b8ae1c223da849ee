"""Real parts for the integration tests, started once and only when a test asks for them."""

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.mesh.child import Child
from cli.mesh.triton import CHECKOUT, KEY_HEADER, TritonPaths, prepare, program


@dataclass(frozen=True, slots=True)
class TritonServer:
    """A running tritonserver: where it listens, what opens it, where its models lie."""

    endpoint: str
    headers: dict[str, str]
    key_file: Path
    models: Path
    metrics_port: int


def free_port() -> int:
    """A TCP port on loopback that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The real Triton on a random port of loopback, with an empty model repository."""
    folder = tmp_path_factory.mktemp("triton")
    key_file = folder / "triton.key"
    key_file.touch(mode=0o600)
    key_file.write_text(secrets.token_hex(32))
    paths = TritonPaths(environment=CHECKOUT / ".venv-triton", state=folder, key_file=key_file)
    prepare(paths)
    port, metrics_port = free_port(), free_port()
    child = Child(program(paths, port, metrics_port), folder / "triton.log")
    try:
        child.wait_ready(30)
        yield TritonServer(
            endpoint=f"127.0.0.1:{port}",
            headers={KEY_HEADER: key_file.read_text()},
            key_file=key_file,
            models=paths.models,
            metrics_port=metrics_port,
        )
    finally:
        child.stop()
