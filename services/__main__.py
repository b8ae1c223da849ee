"""The composition root: `python -m services <domain>|all`.

A domain is a package with a `settings` module that has `Settings` and a `wiring` module that has `build`. It is
imported only when it is asked for, so that no domain pays for what another one needs.
"""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType

from services.runtime.settings import ProcessSettings
from services.runtime.tuning import tune

DOMAINS = MappingProxyType(
    {
        "auth": "services.auth",
        "compliance": "services.compliance",
        "spotify": "services.spotify",
        "ai": "services.ai",
    }
)
"""Every domain, in the order in which `all` starts them: those that others follow come first."""


def main(arguments: list[str]) -> int:
    """Run the named domain, or all of them, until a signal. Returns the exit status; 2 for a wrong command line."""
    if len(arguments) != 1 or arguments[0] not in {*DOMAINS, "all"}:
        print(f"usage: python -m services {'|'.join(DOMAINS)}|all", file=sys.stderr)
        return 2
    process = ProcessSettings()
    tuning = tune() if process.tuned else None
    # Only now may anything import grpc.
    running = importlib.import_module("services.runtime.running")
    packages = list(DOMAINS.values()) if arguments[0] == "all" else [DOMAINS[arguments[0]]]
    status: int = running.run(packages, process, tuning)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
