"""Keeps the programs of the mesh running: starts them in order, restarts what dies, ends them in reverse order.

One thread, one loop, no gRPC: it forks children all its life. `python -m cli.mesh.supervisor` runs it; `polyphony
up` starts that in the background and watches the state file.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from cli.mesh.blueprint import prepare
from cli.mesh.child import Child
from cli.mesh.program import MeshError, Program
from cli.mesh.settings import MeshSettings
from cli.mesh.state import Identity, MeshState, ProgramState, write_state

START_SECONDS = 90.0
"""How long the whole mesh may take to become ready for the first time."""
START_ATTEMPTS = 3
"""How often a program may end before the mesh was ever ready, until the start is given up."""
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.25, 15.0
STEADY_SECONDS = 30.0
"""A program that ran so long and then dies is restarted at once again."""
PROBE_SECONDS_STARTING, PROBE_SECONDS_READY = 0.1, 1.0


class Runner:
    """One program over all its restarts."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.state = ProgramState(program.name, leftovers=program.leftovers)
        self.child: Child | None = None
        self._backoff = FIRST_BACKOFF_SECONDS
        self._not_before = 0.0

    def tick(self, now: float) -> None:
        """Notice its end, start it again when that is due."""
        if self.child is not None and self.child.exit_code is not None:
            self._bury(self.child, now)
        if self.child is None and now >= self._not_before:
            self.child = Child(self.program, self.log)
            self.state.condition = "starting"
            try:
                self.state.process = Identity.of(self.child.pid)
            except psutil.NoSuchProcess:
                self.state.process = None

    def probe(self) -> None:
        """Ask it whether it does its work."""
        if self.child is None:
            return
        reason = self.program.probe()
        if not reason:
            self.state.condition, self.state.reason = "ready", ""
        elif self.state.condition == "ready":
            self.state.condition, self.state.reason = "not serving", reason
        elif self.state.condition != "restarting" and not self.state.restarts:
            self.state.reason = reason

    def stop(self) -> None:
        """Ask it to end, without waiting."""
        if self.child is not None:
            self.child.terminate()

    def reap(self, deadline: float) -> None:
        """Wait for its end, by force when `deadline` (monotonic) has passed."""
        if self.child is not None:
            self.child.reap(deadline)
        self.child, self.state.process, self.state.condition = None, None, "stopped"

    def _bury(self, child: Child, now: float) -> None:
        self.state.reason = child.obituary()
        child.reap(now)
        if now - child.started > STEADY_SECONDS:
            self._backoff = FIRST_BACKOFF_SECONDS
        self._not_before = now + self._backoff
        self._backoff = min(self._backoff * 2, LAST_BACKOFF_SECONDS)
        self.child, self.state.process = None, None
        self.state.condition = "restarting"
        self.state.restarts += 1


class Supervisor:
    """Runs programs until it is told to stop (SIGTERM, SIGINT)."""

    def __init__(
        self, programs: Sequence[Program], settings: MeshSettings, workers: Mapping[str, int]
    ) -> None:
        self._home = settings.home
        self._runners = [Runner(program, settings.logs / f"{program.name}.log") for program in programs]
        self._wake = threading.Event()
        self._stopping = False
        self._written = ""
        self._state = MeshState(
            supervisor=Identity.of(psutil.Process().pid),
            started=time.time(),
            settings=settings.model_dump(mode="json"),
            workers=dict(workers),
            programs=[runner.state for runner in self._runners],
        )

    def run(self) -> int:
        """Returns the exit status: 0 after a stop, 1 when the mesh could not be started."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: self._wake.set())
        began = time.monotonic()
        try:
            while not self._stopping:
                now = time.monotonic()
                self._tick(now)
                if self._state.phase == "starting":
                    self._judge_start(now - began)
                self._publish()
                self._wake.wait(
                    PROBE_SECONDS_STARTING if self._state.phase == "starting" else PROBE_SECONDS_READY
                )
                self._wake.clear()
        except MeshError as error:
            self._state.phase, self._state.message = "failed", str(error)
        failed = self._state.phase == "failed"
        self._stop_all()
        return 1 if failed else 0

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        self._wake.set()

    def _tick(self, now: float) -> None:
        reached = 0
        for stage in sorted({runner.program.stage for runner in self._runners}):
            runners = [runner for runner in self._runners if runner.program.stage == stage]
            for runner in runners:
                runner.tick(now)
                runner.probe()
            reached = stage
            if self._state.phase == "starting" and any(
                runner.state.condition != "ready" for runner in runners
            ):
                break
        all_ready = all(runner.state.condition == "ready" for runner in self._runners)
        if all_ready and reached == max(runner.program.stage for runner in self._runners):
            self._state.phase = "ready"
        elif self._state.phase == "ready":
            self._state.phase = "degraded"

    def _judge_start(self, seconds: float) -> None:
        """Give a hopeless start up, naming the program that makes it so."""
        for runner in self._runners:
            if runner.state.restarts >= START_ATTEMPTS:
                raise MeshError(f"{runner.program.name} {runner.state.reason} (log: {runner.log})")
        if seconds > START_SECONDS:
            late = [
                f"{state.name}: {state.reason}"
                for state in self._state.programs
                if state.condition != "ready"
            ]
            raise MeshError(f"not ready after {START_SECONDS:.0f} s; {'; '.join(late)}")

    def _stop_all(self) -> None:
        """End the edge first, so that nothing new comes in, then the stages in reverse order."""
        failed = self._state.phase == "failed"
        if not failed:
            self._state.phase = "stopping"
        self._publish()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for stage in sorted({runner.program.stage for runner in self._runners}, reverse=True):
            runners = [runner for runner in self._runners if runner.program.stage == stage]
            for runner in runners:
                runner.stop()
            began = time.monotonic()
            for runner in runners:
                runner.reap(began + runner.program.stop_seconds)
        self._publish()

    def _publish(self) -> None:
        text = repr(self._state)
        if text != self._written:
            write_state(self._home, self._state)
            self._written = text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mesh that the environment's settings describe until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m cli.mesh.supervisor", description=main.__doc__)
    parser.add_argument("--workers", type=json.loads, default={}, help='such as {"spotify": 2}')
    options = parser.parse_args(arguments)
    settings = MeshSettings()
    try:
        programs = prepare(settings, options.workers)
    except MeshError as error:
        print(error, file=sys.stderr)
        return 1
    return Supervisor(programs, settings, options.workers).run()


if __name__ == "__main__":
    sys.exit(main())
