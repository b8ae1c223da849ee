"""`polyphony up`."""

import time
from typing import Annotated

import typer

from cli.client.demo import demo_login
from cli.console import Plain, complain, note, say
from cli.mesh.control import running, start
from cli.mesh.program import MeshError
from cli.mesh.settings import DOMAINS, MAX_WORKERS, MeshSettings
from cli.mesh.state import MeshState


def up(
    workers: Annotated[
        list[str] | None, typer.Option(help="Processes of a domain, such as spotify=2. May be repeated.")
    ] = None,
    plain: Plain = False,
) -> None:
    """Start the mesh and wait until it is healthy. Harmless when it runs already."""
    settings = MeshSettings()
    began = time.monotonic()
    before = running(settings.home)
    wanted = before.workers if before and not workers else _workers(workers or [])
    try:
        state = start(settings, wanted, _Progress())
        login = demo_login(settings)
    except MeshError as error:
        complain(f"Polyphony is not up: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        complain("Stopped; nothing is left running.")
        raise typer.Exit(130) from None
    if plain:
        for name, value in (
            ("url", settings.url),
            ("email", login.email),
            ("password-file", str(login.password_file)),
        ):
            print(f"{name}\t{value}")
        return
    took = f"in {time.monotonic() - began:.1f} s" if before is None else "already"
    say(f"Polyphony is {'up' if state.phase == 'ready' else state.phase} {took}.", "bold green")
    say(f"  URL         {settings.url}")
    say(
        f"              https://localhost:{settings.https_port}, vouched for by {settings.home / 'certs' / 'ca.pem'}"
    )
    say(f"  demo login  {login.email}, password in {login.password_file}")
    say("  first call  polyphony call AuthService/WhoAmI")
    say(f"              curl {settings.url}/.well-known/jwks.json")
    say("  then        polyphony status | logs | doctor | down")


class _Progress:
    """Tells what the mesh is waiting for, once per change."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, state: MeshState) -> None:
        waiting = [program.name for program in state.programs if program.condition != "ready"]
        line = f"waiting for {', '.join(waiting)}" if waiting else ""
        for program in state.programs:
            if program.restarts:
                line += f"; {program.name} {program.reason}"
        if line and line != self._last:
            note(line)
        self._last = line


def _workers(given: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in given:
        domain, _, count = item.partition("=")
        if domain not in DOMAINS or not count.isdecimal() or not 1 <= int(count) <= MAX_WORKERS:
            raise typer.BadParameter(
                f"{item!r} is not DOMAIN=COUNT with a domain of {', '.join(DOMAINS)} and 1 to {MAX_WORKERS} workers"
            )
        found[domain] = int(count)
    return found
