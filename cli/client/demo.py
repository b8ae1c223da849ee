"""The demo account of a development mesh."""

from dataclasses import dataclass
from pathlib import Path

import typer

from cli.client.session import CallError, Session, edge_channel
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings

DEMO_EMAIL = "demo@polyphony.example"


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """Who can be let in without signing up. The password is in a file that only its owner can read."""

    email: str
    password_file: Path


def demo_login(settings: MeshSettings) -> DemoLogin:
    """The demo account, opened when it does not exist yet. Raises `MeshError` when the mesh refuses."""
    login = DemoLogin(DEMO_EMAIL, settings.keys / "demo.password")
    try:
        with edge_channel(settings) as channel:
            Session(channel).sign_up(login.email, login.password_file.read_text().strip(), "Demo")
    except CallError as error:
        raise MeshError(f"the demo account could not be opened: {error}") from None
    return login


def credentials_of(settings: MeshSettings, email: str | None) -> tuple[str, str]:
    """Address and password: of the demo account, or of `email` with the password asked for on the terminal."""
    if email in (None, DEMO_EMAIL):
        return DEMO_EMAIL, (settings.keys / "demo.password").read_text().strip()
    return email, typer.prompt(f"Password of {email}", hide_input=True, err=True)
