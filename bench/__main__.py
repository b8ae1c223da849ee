"""`python -m bench [NAME...]`: run the benchmarks named, or all of them."""

from __future__ import annotations

import importlib
import sys

from bench.h2load import MissingTool

BENCHMARKS = ("road", "audit", "history", "triton", "edge", "mesh")


def main(names: list[str]) -> int:
    """Run the benchmarks; what misses a tool is skipped. Returns 2 for an unknown name."""
    for name in names:
        if name not in BENCHMARKS:
            print(f"unknown benchmark {name!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
    for name in names or BENCHMARKS:
        try:
            importlib.import_module(f"bench.{name}").run()
        except MissingTool as missing:
            print(f"{name} is skipped: {missing}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
