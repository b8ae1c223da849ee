"""`polyphony restart`."""

import time
from typing import Annotated

import typer

from cli.console import complain, say
from cli.mesh.control import running
from cli.mesh.settings import MeshSettings

SECONDS = 60.0
"""How long a drain and a start may take together."""


def restart(
    programs: Annotated[
        list[str], typer.Argument(help="Such as spotify-1, as `polyphony status` names them.")
    ],
) -> None:
    """Drain programs one after the other, each until its successor is healthy.

    A worker says NOT_SERVING, the edge turns to its neighbours, calls in flight end; then it comes back.
    """
    home = MeshSettings().home
    for name in programs:
        state = running(home)
        known = {program.name: program for program in state.programs} if state else {}
        if name not in known:
            complain(f"no program is called {name}; there are {', '.join(known) or 'none: polyphony up'}")
            raise typer.Exit(1)
        before = known[name].process
        process = before.process() if before else None
        if process is None:
            complain(f"{name} is not running: {known[name].reason}")
            raise typer.Exit(1)
        process.terminate()
        deadline = time.monotonic() + SECONDS
        while not (
            (state := running(home))
            and any(
                program.name == name and program.process != before and program.condition == "ready"
                for program in state.programs
            )
        ):
            if time.monotonic() > deadline:
                complain(f"{name} is not back after {SECONDS:.0f} s; see: polyphony logs {name}")
                raise typer.Exit(1)
            time.sleep(0.1)
        say(f"{name} was drained and is back.")
