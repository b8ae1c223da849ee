"""One running program: started in a process group of its own, ended as a group, never orphaned."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cli.mesh.program import MeshError, Program

_TETHER = Path(__file__).with_name("tether.py")


class Child:
    """The process of a `Program`, whose output goes to a log file."""

    def __init__(self, program: Program, log: Path) -> None:
        """Start `program` now, appending its output to `log`. Raises `MeshError` when it cannot be started at all."""
        self.program = program
        self.log = log
        self.log_offset = log.stat().st_size if log.exists() else 0
        """Where in the log this run of the program begins."""
        self.started = time.monotonic()
        if not os.access(program.argv[0], os.X_OK):
            raise MeshError(f"{program.name} cannot be started: {program.argv[0]} is not there to be run")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_TETHER), *program.argv],
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def wait_ready(self, seconds: float) -> None:
        """Wait until the probe passes. Raises `MeshError` when the program ends first or `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while reason := self.program.probe():
            if self.exit_code is not None:
                raise MeshError(f"{self.program.name} {self.obituary()}")
            if time.monotonic() > deadline:
                raise MeshError(f"{self.program.name} is not ready after {seconds:.0f} s: {reason}")
            time.sleep(0.05)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); it may finish what it is doing."""
        if self.exit_code is None:
            self._process.terminate()

    def reap(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic), kill what is left of its group, sweep up what that leaves."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        end_group(self.pid)
        sweep(self.program)

    def stop(self) -> None:
        """End it now, with the time that its program is given."""
        self.terminate()
        self.reap(time.monotonic() + self.program.stop_seconds)

    def obituary(self) -> str:
        """How it ended, in one line, with the last thing it said."""
        code = self.exit_code
        if code is None:
            return "is running"
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = self.last_words()
        return f"{ended}: {last}" if last else ended

    def last_words(self) -> str:
        """The last line that this run of the program wrote, or ""."""
        with self.log.open("rb") as file:
            file.seek(max(self.log_offset, file.seek(0, os.SEEK_END) - 8192))
            lines = [
                line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()
            ]
        return lines[-1][:300] if lines else ""


def end_group(group: int, kill: Callable[[int, int], None] = os.killpg) -> None:
    """Kill whatever is left in a process group, such as the model processes of a killed Triton."""
    try:
        kill(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def sweep(program: Program) -> None:
    """Remove the files that a killed program could not remove itself."""
    for pattern in program.leftovers:
        folder, _, name = pattern.rpartition("/")
        for path in Path(folder).glob(name):
            path.unlink(missing_ok=True)
