"""`polyphony down` and Ctrl-C leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from cli.mesh.control import holder, running, stop
from cli.mesh.settings import MeshSettings
from cli.mesh.state import read_state
from cli.mesh.triton import shm_prefix

SHARED_MEMORY = Path("/dev/shm")


def up(settings: MeshSettings) -> "subprocess.Popen[str]":
    told = {
        f"POLYPHONY_{name.upper()}": str(value) for name, value in settings.model_dump(mode="json").items()
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up", "--plain"],
        env={**os.environ, **told, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mine(settings: MeshSettings) -> list[psutil.Process]:
    """Every process that was told of this mesh's state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("POLYPHONY_HOME") == str(settings.home) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def assert_nothing_left(settings: MeshSettings) -> None:
    assert mine(settings) == []
    assert read_state(settings.home) is None
    assert holder(settings.http_port) is None
    assert holder(settings.redis_port) is None
    assert not list(SHARED_MEMORY.glob(f"{shm_prefix(settings.home / 'triton')}*"))


def test_down_ends_every_process(other_settings: MeshSettings) -> None:
    starting = up(other_settings)
    output, errors = starting.communicate(timeout=100)
    assert starting.returncode == 0, errors
    assert "password-file\t" in output
    assert len(mine(other_settings)) >= 7, "all but Redis, which hides its environment"
    assert stop(other_settings.home)
    assert_nothing_left(other_settings)


def test_ctrl_c_during_the_start_ends_every_process(other_settings: MeshSettings) -> None:
    starting = up(other_settings)
    deadline = time.monotonic() + 30
    while not (
        (state := running(other_settings.home)) and any(program.process for program in state.programs)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    starting.send_signal(signal.SIGINT)
    _, errors = starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert "nothing is left running" in errors
    assert_nothing_left(other_settings)
