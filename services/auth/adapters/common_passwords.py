"""Reads the list of common passwords: one core a line, `#` begins a comment."""

from __future__ import annotations

from pathlib import Path


def read_common_passwords(path: Path) -> frozenset[str]:
    """The cores in the file, case folded. Raises OSError where it cannot be read, ValueError where it holds
    none.
    """
    lines = (line.strip().casefold() for line in path.read_text("utf-8").splitlines())
    cores = frozenset(line for line in lines if line and not line.startswith("#"))
    if not cores:
        raise ValueError(f"{path} holds no password")
    return cores
