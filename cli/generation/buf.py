"""Judges the contracts with buf: style, comments, formatting, and what would break a client of the main branch."""

import shutil
import subprocess
from pathlib import Path

from cli.generation import descriptors, third_party, tree
from cli.generation.tools import GenerationError, installed, run

_BASELINES = ("origin/main", "main", "HEAD")
_DESCRIPTORS = f"gen/descriptors/{descriptors.FILE_NAME}"


def judge(root: Path, scratch: Path) -> list[str]:
    """Runs every check over the contracts of the checkout at `root`; returns what was found, one text per check.

    The breaking check compares with the descriptors that the main branch has committed: they are one file, complete
    with imports, so that it works offline and in a shallow clone. It says so when there is nothing to compare with.
    """
    command = installed("buf")
    # buf reads the imports from where buf.yaml says.
    tree.bring_up_to_date(third_party.lay_out(scratch / "imports"), root / ".build" / "proto")
    checks = [["lint", "proto"], ["format", "proto", "--diff", "--exit-code"]]
    if baseline := _baseline(root, scratch):
        checks.append(["breaking", "proto", "--against", str(baseline)])
    else:
        print(f"breaking: nothing to compare with, no commit holds {_DESCRIPTORS} yet")
    found = []
    for check in checks:
        try:
            run([command, *check], cwd=root)
        except GenerationError as error:
            found.append(f"{check[0]}: {error}")
    return found


def _baseline(root: Path, scratch: Path) -> Path | None:
    """The descriptors of the main branch, or else of the last commit; None where none is committed."""
    git = shutil.which("git")
    if git is None:
        raise GenerationError("git is not installed; the breaking check reads the main branch with it")
    for revision in _BASELINES:
        shown = subprocess.run(
            [git, "show", f"{revision}:{_DESCRIPTORS}"], cwd=root, capture_output=True, check=False
        )
        if shown.returncode == 0:
            print(f"breaking: compared with {revision}")
            path = scratch / "baseline.binpb"
            path.write_bytes(shown.stdout)
            return path
    return None
