"""`polyphony logs`."""

import time
from collections import deque
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cli.console import complain
from cli.mesh.settings import MeshSettings

_POLL_SECONDS = 0.2


def logs(
    programs: Annotated[
        list[str] | None, typer.Argument(help="Such as spotify or envoy. Default: all.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines from the end of each log.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
) -> None:
    """Print the programs' logs, each line behind its program's name."""
    folder = MeshSettings().logs
    known = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if unknown := sorted(set(programs or []) - set(known)):
        complain(f"no log of {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
        raise typer.Exit(1)
    chosen = {name: path for name, path in known.items() if not programs or name in programs}
    width = max(map(len, chosen), default=0)
    files = {name: path.open(errors="replace") for name, path in chosen.items()}
    try:
        for name, file in files.items():
            for line in deque(file, maxlen=lines):
                _print(name, width, line)
        while follow:
            added = [_more(name, width, file, chosen[name]) for name, file in files.items()]
            if not any(added):
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        for file in files.values():
            file.close()


def _more(name: str, width: int, file: TextIO, path: Path) -> bool:
    """Print what was added; start again from the beginning of a file that was cut. True when there was something."""
    if path.stat().st_size < file.tell():
        file.seek(0)
    added = file.readlines()
    for line in added:
        _print(name, width, line)
    return bool(added)


def _print(name: str, width: int, line: str) -> None:
    print(f"{name:<{width}} | {line.rstrip()}", flush=True)
