"""The mesh as an operator meets it: up, status, down, and what it says when something is wrong."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.mesh.control import running, start
from cli.mesh.identity import too_open
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings
from cli.mesh.state import MeshState

PROGRAMS = {"redis", "triton", "auth", "compliance", "spotify", "spotify-1", "ai", "envoy"}


def polyphony(
    settings: MeshSettings, *arguments: str, timeout: float = 60
) -> "subprocess.CompletedProcess[str]":
    """The command, told of this mesh by its environment."""
    told = {
        f"POLYPHONY_{name.upper()}": str(value) for name, value in settings.model_dump(mode="json").items()
    }
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={**os.environ, **told, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def until(mesh: Any, condition: Callable[[MeshState], bool], seconds: float = 40) -> MeshState:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = running(mesh.settings.home)
        if state and condition(state):
            return state
        time.sleep(0.1)
    raise AssertionError(f"not reached: {running(mesh.settings.home)}")


def test_every_program_is_ready(mesh: Any) -> None:
    until(mesh, lambda state: state.phase == "ready")
    shown = polyphony(mesh.settings, "status", "--plain")
    assert shown.returncode == 0, shown.stdout
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert {row[0] for row in rows} == PROGRAMS
    assert {row[1] for row in rows} == {"ready"}
    assert all(int(row[3]) > 1 for row in rows), "resident memory in MiB"


def test_a_second_up_is_quick_and_changes_nothing(mesh: Any) -> None:
    before = until(mesh, lambda state: state.phase == "ready")
    began = time.monotonic()
    again = polyphony(mesh.settings, "up", "--plain")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - began < 20
    after = running(mesh.settings.home)
    assert after is not None
    assert [program.process for program in after.programs] == [program.process for program in before.programs]
    assert f"url\thttp://127.0.0.1:{mesh.settings.http_port}" in again.stdout


def test_other_workers_than_the_running_ones_are_refused(mesh: Any) -> None:
    with pytest.raises(MeshError, match="another workers; run: polyphony down"):
        start(mesh.settings, {"spotify": 3})


def test_a_dead_child_comes_back_and_is_explained(mesh: Any) -> None:
    before = until(mesh, lambda state: state.phase == "ready")
    pid = next(program.process.pid for program in before.programs if program.name == "ai" and program.process)
    os.kill(pid, signal.SIGKILL)
    until(mesh, lambda state: any(program.name == "ai" and program.restarts for program in state.programs))
    explained = polyphony(mesh.settings, "status", "--plain")
    after = until(mesh, lambda state: state.phase == "ready")
    ai = next(program for program in after.programs if program.name == "ai")
    assert ai.restarts == 1
    assert ai.process is not None
    assert ai.process.pid != pid
    assert "ai\t" in explained.stdout


def test_keys_are_closed_to_others(mesh: Any) -> None:
    assert too_open(mesh.settings.keys) == []
    assert mesh.settings.home.stat().st_mode & 0o077 == 0


def test_nothing_listens_beyond_loopback(mesh: Any) -> None:
    state = until(mesh, lambda state: state.phase == "ready")
    for program in state.programs:
        assert program.process is not None
        process = psutil.Process(program.process.pid)
        for member in (process, *process.children(recursive=True)):
            for connection in member.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), (
                        program.name,
                        connection.laddr,
                    )


def test_no_secret_is_on_a_command_line_but_tritons(mesh: Any) -> None:
    state = until(mesh, lambda state: state.phase == "ready")
    secrets = [
        path.read_bytes().strip()
        for path in mesh.settings.keys.glob("*")
        if path.suffix in (".password", ".key")
    ]
    for program in state.programs:
        assert program.process is not None
        words = " ".join(psutil.Process(program.process.pid).cmdline()).encode()
        if program.name != "triton":
            assert not any(secret in words for secret in secrets if len(secret) < 100), program.name


def test_a_taken_port_is_explained(mesh: Any, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        settings = mesh.settings.model_copy(update={"home": tmp_path / "other", "http_port": port})
        refused = polyphony(settings, "up")
        assert refused.returncode == 1
        assert f"port {port} (Envoy HTTP) is taken by " in refused.stderr
        assert f"(pid {os.getpid()}): stop that, or set POLYPHONY_HTTP_PORT" in refused.stderr
        assert running(settings.home) is None


def test_a_missing_tool_is_explained(mesh: Any, tmp_path: Path) -> None:
    settings = mesh.settings.model_copy(
        update={"home": tmp_path / "other", "triton_environment": tmp_path / "nowhere"}
    )
    refused = polyphony(settings, "up")
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("run: make setup")


def test_the_doctor_finds_nothing_wrong(mesh: Any) -> None:
    seen = polyphony(mesh.settings, "doctor", "--plain")
    assert seen.returncode == 0, seen.stdout
    assert "ports\tok\tin use by this mesh" in seen.stdout


def test_the_doctor_finds_an_open_key(mesh: Any) -> None:
    key = mesh.settings.keys / "ai.kek"
    key.chmod(0o644)
    try:
        seen = polyphony(mesh.settings, "doctor", "--plain")
        assert seen.returncode == 1
        assert f"permissions\tWRONG\topen to others: {key}" in seen.stdout
    finally:
        key.chmod(0o600)


def test_logs_name_their_program(mesh: Any) -> None:
    shown = polyphony(mesh.settings, "logs", "redis", "-n", "3")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 3
    assert all(line.startswith("redis | ") for line in shown.stdout.splitlines())
    assert polyphony(mesh.settings, "logs", "nobody").returncode == 1
