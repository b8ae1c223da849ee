"""`python -m bench [NAME...]`: run the benchmarks named, or all of them."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ("road", "audit", "history", "triton", "edge", "mesh")


def main(names: list[str]) -> int:
    """Run the benchmarks; 2 for an unknown name."""
    for name in names:
        if name not in BENCHMARKS:
            print(f"unknown benchmark {name!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
    for name in names or BENCHMARKS:
        importlib.import_module(f"bench.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
