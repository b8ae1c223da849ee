"""What a process costs: its memory at the peak and its time on a core, as Linux counts them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


class PeakMemory:
    """Watches one process, from its making on. The kernel keeps the peak, so nothing is missed between two looks."""

    def __init__(self, pid: int | str = "self") -> None:
        self._folder = Path("/proc", str(pid))
        (self._folder / "clear_refs").write_text("5")  # resets the peak to what is resident now
        self.before = self._read("VmRSS")

    @property
    def growth(self) -> int:
        """Bytes by which the process was larger at its largest than at the beginning."""
        return self._read("VmHWM") - self.before

    def _read(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", (self._folder / "status").read_text(), re.MULTILINE)
        assert found is not None, f"{self._folder} tells no {name}"
        return int(found[1]) * 1024


def core_seconds(pid: int) -> float:
    """Seconds of a core that a process and what it started have spent so far, also in the kernel; in steps of 10 ms."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


class WorkMeter:
    """What a process spends of a core beyond what it spends when nobody calls, on heartbeats and checks."""

    def __init__(self, pid: int, *, idle_seconds: float = 2.0) -> None:
        """Watches the idle process for `idle_seconds`."""
        self._pid = pid
        self._idle = 0.0
        self.start()
        time.sleep(idle_seconds)
        self._idle = self.spent() / idle_seconds

    def start(self) -> None:
        """Begin to count."""
        self._began, self._before = time.monotonic(), core_seconds(self._pid)

    def spent(self) -> float:
        """Seconds of a core spent on work since the start."""
        elapsed = time.monotonic() - self._began
        return max(core_seconds(self._pid) - self._before - self._idle * elapsed, 0.0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process: all that is resident, and what is its own plus its part of what it shares (PSS)."""

    resident: int
    proportional: int


def memory_of(pid: int) -> Memory:
    """The memory of a process at this moment."""
    found = psutil.Process(pid).memory_full_info()
    return Memory(found.rss, found.pss)
