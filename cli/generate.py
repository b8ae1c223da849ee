"""Generates everything under `gen/` from the contracts under `proto/`: `python -m cli.generate`.

    python -m cli.generate            bring gen/ up to date
    python -m cli.generate --check    change nothing; exit 1 and list the files that are stale
    python -m cli.generate --lint     buf's lint, format and breaking checks over proto/

It is offline and reproducible: the same contracts and the same locked tools give the same bytes.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli.generation import buf, descriptors, python_code, sdk, sources, tools, tree, web
from cli.generation.sources import Sources

ROOT = Path(__file__).resolve().parents[1]

GENERATORS: dict[str, Callable[[Sources, Path], None]] = {
    "descriptors": descriptors.generate,
    "python": python_code.generate,
    "sdk": sdk.generate,
    "web": web.generate,
}
"""Each folder of gen/ and what fills it."""


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Runs the command over the checkout at `root` and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cli.generate", description=__doc__.splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing; exit 1 and list stale files")
    mode.add_argument("--lint", action="store_true", help="lint, format and breaking checks over proto/")
    options = parser.parse_args(arguments)
    action = _lint if options.lint else _check if options.check else _generate
    try:
        return action(root)
    except tools.GenerationError as error:
        print(error, file=sys.stderr)
        return 1


def _generate(root: Path) -> int:
    with _scratch(root) as scratch:
        changed = tree.bring_up_to_date(render(root, scratch), root / "gen")
    print(f"gen/ is up to date ({changed} files changed)")
    return 0


def _check(root: Path) -> int:
    with _scratch(root) as scratch:
        found = tree.stale(render(root, scratch), root / "gen")
    for line in found:
        print(f"gen/{line}")
    if found:
        print("gen/ is stale: run python -m cli.generate and commit the result", file=sys.stderr)
    return 1 if found else 0


def _lint(root: Path) -> int:
    with _scratch(root) as scratch:
        found = buf.judge(root, scratch)
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found else 0


def render(root: Path, scratch: Path) -> Path:
    """Generates what gen/ of the checkout at `root` should hold, and returns the folder in `scratch` that has it."""
    loaded = sources.load(root / "proto", scratch)
    fresh = scratch / "gen"
    for name, generate in GENERATORS.items():
        generate(loaded, fresh / name)
    return fresh


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A folder of this run's own, so that two runs at once do not meet."""
    build = root / ".build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
