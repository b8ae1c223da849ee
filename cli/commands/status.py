"""`polyphony status`."""

from contextlib import suppress

import psutil
import typer

from cli.console import Plain, say, table
from cli.mesh.control import running
from cli.mesh.settings import MeshSettings
from cli.mesh.state import Condition, ProgramState

_STYLES: dict[Condition, str] = {
    "ready": "green",
    "not serving": "yellow",
    "restarting": "red",
    "stopped": "red",
}


def status(plain: Plain = False) -> None:
    """Show every program of the mesh: its health, memory and restarts. Exits with 1 unless all are healthy."""
    state = running(MeshSettings().home)
    if state is None:
        say("Polyphony is not running; start it with: polyphony up")
        raise typer.Exit(1)
    rows = [
        (
            program.name,
            program.condition,
            str(program.process.pid) if program.process else "-",
            _memory(program),
            str(program.restarts),
            program.reason,
        )
        for program in state.programs
    ]
    table(
        ("program", "condition", "pid", "MiB", "restarts", "reason"),
        rows,
        plain=plain,
        styles=[_STYLES.get(program.condition, "") for program in state.programs],
    )
    if state.phase != "ready":
        raise typer.Exit(1)


def _memory(program: ProgramState) -> str:
    """Resident memory of the program and its own children, in MiB."""
    process = program.process.process() if program.process else None
    if process is None:
        return "-"
    total = 0
    with suppress(psutil.Error):
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return f"{total / 1_048_576:.0f}"
