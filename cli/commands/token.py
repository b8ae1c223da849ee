"""`polyphony token`."""

from typing import Annotated

import typer

from cli.client.demo import credentials_of
from cli.client.session import CallError, Session, edge_channel
from cli.console import complain
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings

Email = Annotated[str | None, typer.Option("--as", metavar="EMAIL", help="Whose. Default: the demo account.")]


def token(email: Email = None) -> None:
    """Log in through the edge and print an access token: curl -H "authorization: Bearer $(polyphony token)" ..."""
    settings = MeshSettings()
    try:
        with edge_channel(settings) as channel:
            print(Session(channel).log_in(*credentials_of(settings, email)))
    except (CallError, MeshError) as error:
        complain(str(error))
        raise typer.Exit(1) from None
