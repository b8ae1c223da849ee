"""`polyphony demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.client.session import CallError, edge_channel
from cli.console import Plain, complain, say
from cli.demo.journey import Journey
from cli.mesh.identity import checkpoint_public_key
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings
from cli.simulation import write_archive

SIMULATED = "SIMULATED-listening-history.zip"


def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...",
            help="Your Extended Streaming History: the ZIP or its JSON files. Without one, a simulated history.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    plays: Annotated[int, typer.Option(min=1, help="How many plays to simulate.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The seed of the simulation.")] = 7,
    plain: Plain = False,
) -> None:
    """Play the main job through the edge: consent, import, profile, recommendations, proof, withdrawal."""
    settings = MeshSettings()
    try:
        with tempfile.TemporaryDirectory() as folder, edge_channel(settings) as channel:
            if not files:
                say(f"No file given: {plays:,} plays of an invented listener are simulated (seed {seed}).")
                files = [write_archive(Path(folder, SIMULATED), seed=seed, plays=plays)]
            Journey(channel, checkpoint_public_key(settings.keys), plain=plain).run(files)
    except (CallError, MeshError) as error:
        complain(str(error))
        raise typer.Exit(1) from None
