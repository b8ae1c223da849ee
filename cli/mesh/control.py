"""Starting and stopping the mesh from another process: what `polyphony up` and `polyphony down` do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import psutil

from cli.mesh.blueprint import prepare
from cli.mesh.child import end_group
from cli.mesh.program import MeshError, Port, Program
from cli.mesh.settings import CHECKOUT, MeshSettings
from cli.mesh.state import MeshState, read_state, state_file

STOP_SECONDS = 45.0
"""How long a supervisor may take to end everything: a little more than its programs may."""
_POLL_SECONDS = 0.05


def running(home: Path) -> MeshState | None:
    """The state of the mesh of this state folder, or None when it does not run."""
    state = read_state(home)
    return state if state and state.supervisor.process() else None


def start(
    settings: MeshSettings, workers: Mapping[str, int], watch: Callable[[MeshState], None] = lambda _: None
) -> MeshState:
    """Bring the mesh up and wait until it is ready; `watch` sees each state on the way.

    When it runs already, nothing is started. Raises `MeshError` in one line when it cannot be started, or when it
    runs with other settings; `KeyboardInterrupt` ends what was started before it is passed on.
    """
    with _only_one(settings):
        if state := running(settings.home):
            _same(state, settings, workers)
            return state if state.phase in ("ready", "degraded") else _follow(settings, None, watch)
        _end_orphans(settings.home)
        programs = prepare(settings, workers)
        _ports_free(programs)
        supervisor = _spawn(settings, workers)
        try:
            return _follow(settings, supervisor, watch)
        except BaseException:
            stop(settings.home)
            raise


def stop(home: Path) -> bool:
    """End the mesh and everything it started. Returns False when there was nothing to end.

    Raises `MeshError` when something survives even a kill.
    """
    state = read_state(home)
    if state is None:
        return False
    if supervisor := state.supervisor.process():
        supervisor.send_signal(signal.SIGTERM)
        _wait(lambda: state.supervisor.process() is None, STOP_SECONDS)
        if survivor := state.supervisor.process():
            survivor.kill()
            _wait(lambda: state.supervisor.process() is None, 5)
    survivors = _end_orphans(home)
    state_file(home).unlink(missing_ok=True)
    return supervisor is not None or survivors


def holder(port: int) -> str | None:
    """Who listens on a TCP port of this machine, such as "nginx (pid 42)"; None when nobody does."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port:
            if connection.pid is None:
                return "another user's program"
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def _spawn(settings: MeshSettings, workers: Mapping[str, int]) -> "subprocess.Popen[bytes]":
    log = os.open(settings.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.mesh.supervisor", "--workers", json.dumps(dict(workers))],
            cwd=CHECKOUT,
            env={**os.environ, **_environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _environment(settings: MeshSettings) -> dict[str, str]:
    return {
        f"POLYPHONY_{name.upper()}": str(value) for name, value in settings.model_dump(mode="json").items()
    }


def _follow(
    settings: MeshSettings, supervisor: "subprocess.Popen[bytes] | None", watch: Callable[[MeshState], None]
) -> MeshState:
    """Watch the state file until the mesh is ready. Raises `MeshError` when that will not happen."""
    while True:
        ended = supervisor is not None and supervisor.poll() is not None
        state = read_state(settings.home)
        if state and (supervisor is None or state.supervisor.pid == supervisor.pid):
            watch(state)
            if state.phase in ("ready", "degraded"):
                return state
            if state.phase == "failed":
                raise MeshError(state.message)
            ended = ended or state.supervisor.process() is None
        if ended:
            words = (settings.logs / "supervisor.log").read_text(errors="replace").strip().splitlines()
            raise MeshError(f"the supervisor ended: {words[-1] if words else 'it was stopped'}")
        time.sleep(_POLL_SECONDS)


def _same(state: MeshState, settings: MeshSettings, workers: Mapping[str, int]) -> None:
    wanted = settings.model_dump(mode="json")
    different = [name for name, value in wanted.items() if state.settings.get(name) != value]
    if state.workers != dict(workers):
        different.append("workers")
    if different:
        raise MeshError(f"the mesh runs already with another {', '.join(different)}; run: polyphony down")


def _ports_free(programs: Iterable[Program]) -> None:
    taken = [(port, by) for program in programs for port in program.ports if (by := holder(port.number))]
    if taken:
        raise MeshError("; ".join(_taken(port, by) for port, by in taken))


def _taken(port: Port, by: str) -> str:
    return f"port {port.number} ({port.purpose}) is taken by {by}: stop that, or set {port.setting}"


def _end_orphans(home: Path) -> bool:
    """End programs whose supervisor was killed, and sweep up after them."""
    state = read_state(home)
    if state is None:
        return False
    orphans = [program for program in state.programs if program.process and program.process.process()]
    for program in orphans:
        if process := program.process and program.process.process():
            process.terminate()
    _wait(lambda: not any(program.process and program.process.process() for program in orphans), 15)
    for program in state.programs:
        if program.process and (program.process.process() or program in orphans):
            end_group(program.process.pid)
        for pattern in program.leftovers:
            for path in Path(pattern).parent.glob(Path(pattern).name):
                path.unlink(missing_ok=True)
    _wait(lambda: not any(program.process and program.process.process() for program in orphans), 5)
    alive = [program.name for program in orphans if program.process and program.process.process()]
    if alive:
        raise MeshError(f"cannot end {', '.join(alive)}")
    return bool(orphans)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


@contextmanager
def _only_one(settings: MeshSettings) -> Iterator[None]:
    """Two `polyphony up` at once would start two meshes over the same data."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.home / "run").mkdir(mode=0o700, exist_ok=True)
    with (settings.home / "run" / "up.lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise MeshError("another `polyphony up` is starting this mesh at this moment") from None
        yield
