"""Generates the Python messages and gRPC stubs of the services, typed.

The stubs come from mypy-protobuf, not from protoc's own `--pyi_out`, whose output does not pass a strict type check
(bare `Mapping`, undefined `_ExtensionDict`) and leaves the gRPC side untyped.
"""

from pathlib import Path

from cli.generation.sources import Sources
from cli.generation.tools import installed

_INIT = '"""Generated from `{source}` by `python -m cli.generate`. Do not edit."""\n'


def generate(sources: Sources, out: Path) -> None:
    """Writes the packages `polyphony` and `buf.validate` under `out`, which is their import root.

    google.* messages are not written: at run time they come from protobuf and googleapis-common-protos.
    """
    out.mkdir(parents=True)
    types = installed("protoc-gen-mypy")
    grpc_types = installed("protoc-gen-mypy_grpc")
    sources.protoc(
        [f"--python_out={out}", f"--plugin=protoc-gen-mypy={types}", f"--mypy_out=quiet:{out}"],
        sources.files + sources.foreign("buf/"),
    )
    if services := sources.with_services():
        sources.protoc(
            [
                f"--grpc_python_out={out}",
                f"--plugin=protoc-gen-mypy_grpc={grpc_types}",
                f"--mypy_grpc_out=quiet:{out}",
            ],
            services,
        )
    _make_packages(out)


def _make_packages(out: Path) -> None:
    """Turns every folder into a regular package, and every top one into a typed package (PEP 561)."""
    for folder in sorted(path for path in out.rglob("*") if path.is_dir()):
        source = f"proto/{folder.relative_to(out).as_posix()}"
        (folder / "__init__.py").write_text(_INIT.format(source=source), encoding="utf-8")
        if folder.parent == out:
            (folder / "py.typed").write_bytes(b"")
