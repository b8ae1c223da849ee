"""Compares a freshly generated folder with the committed one, and brings that up to date."""

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path

_IGNORED = {"__pycache__", "node_modules"}


def stale(fresh: Path, committed: Path) -> list[str]:
    """One line per file of `committed` that is missing, differs, or that generation no longer makes; sorted."""
    new, old = _files(fresh), _files(committed)
    found = dict.fromkeys(new - old, "missing") | dict.fromkeys(old - new, "left over")
    for path in new & old:
        if not filecmp.cmp(fresh / path, committed / path, shallow=False):
            found[path] = "differs"
    return [f"{path.as_posix()}: {found[path]}" for path in sorted(found)]


def bring_up_to_date(fresh: Path, committed: Path) -> int:
    """Makes `committed` equal to `fresh`, touching only the files that change, and returns how many changed."""
    new, old = _files(fresh), _files(committed)
    left_over = old - new
    changed = {
        path
        for path in new
        if path not in old or not filecmp.cmp(fresh / path, committed / path, shallow=False)
    }
    for path in left_over:
        (committed / path).unlink()
    for path in changed:
        (committed / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh / path, committed / path)
    _remove_empty_folders(committed)
    return len(changed) + len(left_over)


def _files(root: Path) -> set[Path]:
    return set(_walk(root, root)) if root.is_dir() else set()


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _IGNORED:
            continue
        if entry.is_dir():
            yield from _walk(entry, root)
        else:
            yield entry.relative_to(root)


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        if _IGNORED.isdisjoint(folder.parts) and not any(_walk(folder, folder)):
            shutil.rmtree(folder)
