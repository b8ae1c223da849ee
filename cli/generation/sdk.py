"""Generates the Python SDK for clients outside the mesh: betterproto2 dataclasses with asyncio stubs.

It lives in a package of its own, `polyphony_sdk`: its modules are named as the services' own (`polyphony.auth.v1`),
and both can be imported into one process.
"""

from pathlib import Path

from cli.generation.sources import Sources
from cli.generation.tools import installed

PACKAGE = "polyphony_sdk"


def generate(sources: Sources, out: Path) -> None:
    """Writes the package `polyphony_sdk` under `out`; it needs nothing but betterproto2[grpclib]."""
    package = out / PACKAGE
    package.mkdir(parents=True)
    # The plugin formats what it writes with the `ruff` on the PATH, under the nearest configuration: an empty one,
    # so that this project's style does not decide what is generated.
    (sources.scratch / "ruff.toml").touch()
    plugin = installed("protoc-gen-python_betterproto2")
    sources.protoc(
        [
            f"--plugin=protoc-gen-python_betterproto2={plugin}",
            "--python_betterproto2_opt=client_generation=async",
            f"--python_betterproto2_out={package}",
        ],
        sources.files + sources.foreign("google/rpc/"),
        path=[installed("ruff").parent],
    )
