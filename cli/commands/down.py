"""`polyphony down`."""

import typer

from cli.console import Plain, complain, say
from cli.mesh.control import stop
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings


def down(plain: Plain = False) -> None:
    """Stop the mesh. Calls in flight may end; the data stays, no process does."""
    try:
        stopped = stop(MeshSettings().home)
    except MeshError as error:
        complain(str(error))
        raise typer.Exit(1) from None
    if not plain:
        say("Polyphony is down." if stopped else "Polyphony was not running.")
