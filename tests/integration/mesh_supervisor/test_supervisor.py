"""The supervisor with real processes: it starts in order, restarts what dies, gives up clearly, leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.mesh.control import running, stop
from cli.mesh.state import MeshState, read_state

SCRIPT = """
import sys
from pathlib import Path
from cli.mesh.program import Program
from cli.mesh.settings import MeshSettings
from cli.mesh.supervisor import Supervisor

home = Path({home!r})

def probe(name):
    return lambda: "" if (home / (name + ".ready")).exists() else name + " has not said that it is ready"

def program(name, body, stage):
    return Program(name, (sys.executable, "-c", body), probe(name), stage=stage, stop_seconds={stop_seconds})

programs = [program(name, body, stage) for name, body, stage in {programs!r}]
sys.exit(Supervisor(programs, MeshSettings(home=home), {{}}).run())
"""

READY = "import pathlib, time; pathlib.Path({path!r}).touch(); time.sleep(600)"


class Mesh:
    """A supervisor over scripts, in a process of its own."""

    def __init__(self, home: Path, programs: list[tuple[str, str, int]], stop_seconds: float = 5.0) -> None:
        for name in ("logs", "run"):
            (home / name).mkdir(parents=True)
        self.home = home
        script = SCRIPT.format(home=str(home), programs=programs, stop_seconds=stop_seconds)
        self.process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)

    def until(self, condition: Callable[[MeshState], Any], seconds: float = 15) -> MeshState:
        deadline = time.monotonic() + seconds
        state = None
        while time.monotonic() < deadline:
            state = read_state(self.home)
            if state and condition(state):
                return state
            time.sleep(0.02)
        raise AssertionError(f"not reached: {json.dumps(state, default=vars)}")


def ready(home: Path, name: str) -> str:
    return READY.format(path=str(home / f"{name}.ready"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop(tmp_path)


def pids(state: MeshState) -> dict[str, int]:
    return {program.name: program.process.pid for program in state.programs if program.process}


def test_stages_start_one_after_the_other(home: Path) -> None:
    mesh = Mesh(home, [("first", "import time; time.sleep(600)", 0), ("second", ready(home, "second"), 1)])
    mesh.until(lambda state: state.programs[0].condition == "starting")
    time.sleep(0.5)
    assert mesh.until(lambda state: True).programs[1].condition == "waiting"
    (home / "first.ready").touch()
    assert set(pids(mesh.until(lambda state: state.phase == "ready"))) == {"first", "second"}


def test_a_dead_program_is_restarted_and_explained(home: Path) -> None:
    mesh = Mesh(home, [("one", ready(home, "one"), 0), ("other", ready(home, "other"), 0)])
    before = pids(mesh.until(lambda state: state.phase == "ready"))
    (home / "one.ready").unlink()
    os.kill(before["one"], signal.SIGKILL)
    dead = mesh.until(lambda state: state.programs[0].restarts == 1)
    assert dead.programs[0].reason == "was ended by SIGKILL"
    after = mesh.until(lambda state: state.phase == "ready" and state.programs[0].process)
    assert pids(after)["one"] != before["one"]
    assert pids(after)["other"] == before["other"]


def test_a_program_that_cannot_start_ends_the_start_with_its_last_words(home: Path) -> None:
    fine, broken = ready(home, "fine"), "import sys; print('no such table: plays'); sys.exit(3)"
    mesh = Mesh(home, [("fine", fine, 0), ("broken", broken, 1)])
    assert mesh.process.wait(20) == 1
    state = mesh.until(lambda state: state.phase == "failed")
    assert "broken ended with exit code 3: no such table: plays" in state.message
    assert not pids(state), "what had started was ended"


def test_stop_ends_every_process_and_its_own_children(home: Path) -> None:
    body = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    mesh = Mesh(home, [("parent", body + ready(home, "parent"), 0)])
    state = mesh.until(lambda state: state.phase == "ready")
    family = [psutil.Process(pids(state)["parent"])]
    deadline = time.monotonic() + 5
    while len(family) < 2 and time.monotonic() < deadline:
        family = [family[0], *family[0].children(recursive=True)]
    assert len(family) == 2
    assert running(home)
    assert stop(home)
    assert mesh.process.wait(5) == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert read_state(home) is None
    assert not stop(home), "a second time there is nothing to stop"


def test_what_ignores_the_request_to_end_is_killed(home: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ready(home, "stubborn")
    mesh = Mesh(home, [("stubborn", stubborn, 0)], stop_seconds=0.5)
    pid = pids(mesh.until(lambda state: state.phase == "ready"))["stubborn"]
    assert stop(home)
    assert not psutil.pid_exists(pid)


def test_a_killed_supervisor_leaves_no_program_behind(home: Path) -> None:
    mesh = Mesh(home, [("one", ready(home, "one"), 0)])
    process = psutil.Process(pids(mesh.until(lambda state: state.phase == "ready"))["one"])
    mesh.process.kill()
    mesh.process.wait()
    assert running(home) is None
    process.wait(5)
    stop(home)
    assert read_state(home) is None
