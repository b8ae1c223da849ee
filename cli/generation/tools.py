"""Finds and runs the programs that generate; a missing or failing one ends with a sentence, not a traceback."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class GenerationError(Exception):
    """Generation cannot go on; the message says why and what to do, in one line or the tool's own words."""


_INSTALL = "install the development dependencies: make setup"


def installed(name: str) -> Path:
    """The path of a program beside the running Python, or else on the PATH; GenerationError where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise GenerationError(f"{name} is not installed; {_INSTALL}")
    return Path(found)


def package(name: str) -> Path:
    """The folder of an installed Python package, which is not imported; GenerationError where there is none."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise GenerationError(f"the Python package {name} is not installed; {_INSTALL}")
    return Path(spec.submodule_search_locations[0])


def run(command: Sequence[str | Path], *, cwd: Path, path: Sequence[Path] = ()) -> str:
    """Runs a program to its end and returns its standard output; `path` folders go in front of PATH.

    Raises GenerationError with what the program printed when it fails.
    """
    environment = {**os.environ, "PATH": os.pathsep.join([*map(str, path), os.environ.get("PATH", "")])}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise GenerationError(
            f"{Path(command[0]).name} failed:\n{said}" if said else f"{command[0]} failed silently"
        )
    return done.stdout
