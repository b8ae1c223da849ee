"""How long `polyphony up` takes until everything is healthy, and the memory of each process then.

The command is run as a person runs it, in a state folder and on ports of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from bench.live_mesh import free_home
from bench.processes import Memory, memory_of
from bench.report import Report, median
from cli.mesh.control import running
from cli.mesh.settings import MeshSettings

ROUNDS = 3

FIRST, RUNNING, SECOND = "up, the first time", "up, while it runs", "up, the second time"


def run() -> None:
    """Measure and publish both tables."""
    with free_home() as settings:
        seconds: dict[str, list[float]] = {FIRST: [_command(settings, "up")], RUNNING: [], SECOND: []}
        for _ in range(ROUNDS):
            seconds[RUNNING].append(_command(settings, "up"))
            _command(settings, "down")
            seconds[SECOND].append(_command(settings, "up"))
        memory = _memory(settings)
    times(seconds).publish()
    memories(memory).publish()


def times(seconds: Mapping[str, Sequence[float]]) -> Report:
    """The report of how long the command took."""
    table = Report(
        "mesh",
        "`polyphony up` until everything is healthy",
        f"Redis, Triton, four domains and Envoy; medians of {ROUNDS} rounds but for the first time, which also makes"
        " keys, certificates and databases. The command's own start is included.",
        ["command", "seconds"],
    )
    for name, taken in seconds.items():
        table.add(name, f"{median(taken):.1f}")
    return table


def memories(found: Mapping[str, Memory]) -> Report:
    """The report of each process's memory."""
    table = Report(
        "memory",
        "Memory of the mesh's processes",
        "Just started, no model loaded, MiB. Proportional is what is a process's own and its part of what it shares.",
        ["process", "resident", "proportional"],
    )
    for name, memory in found.items():
        table.add(name, f"{memory.resident / 2**20:,.0f}", f"{memory.proportional / 2**20:,.0f}")
    table.add("together", "", f"{sum(memory.proportional for memory in found.values()) / 2**20:,.0f}")
    return table


def _command(settings: MeshSettings, name: str) -> float:
    """Run `polyphony <name>`; returns the seconds until it has ended."""
    told = {f"POLYPHONY_{key.upper()}": str(value) for key, value in settings.model_dump(mode="json").items()}
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "cli.main", name],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.monotonic() - began


def _memory(settings: MeshSettings) -> dict[str, Memory]:
    state = running(settings.home)
    if state is None or state.phase != "ready":
        raise RuntimeError(f"the mesh is {state.phase if state else 'gone'}")
    pids = {program.name: program.process.pid for program in state.programs if program.process}
    return {name: memory_of(pid) for name, pid in {"supervisor": state.supervisor.pid, **pids}.items()}
