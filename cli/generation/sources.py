"""What everything is generated from: our `.proto` files, those they import, and their compiled descriptors."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from cli.generation import third_party
from cli.generation.tools import GenerationError, run

_ERROR_DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
"""No contract imports them, yet every error carries them: Envoy's JSON and the clients need their descriptors."""


@dataclass(frozen=True)
class Sources:
    """Our contracts, compiled once; `protoc` runs its plugins over them."""

    root: Path
    """The folder of our own `.proto` files."""
    third_party: Path
    """The folder of those of other projects."""
    files: tuple[str, ...]
    """Our files, relative to `root`, sorted."""
    compiled: bytes
    """Our files, everything that they import and the error details, with source information (comments), as a
    FileDescriptorSet in protoc's own bytes: parsed and written again, they depend on which options Python knows."""

    scratch: Path
    """A folder of this generation's own."""

    @cached_property
    def descriptors(self) -> FileDescriptorSet:
        """`compiled`, to be looked at."""
        return FileDescriptorSet.FromString(self.compiled)

    def with_services(self) -> tuple[str, ...]:
        """Those of `files` that declare a service."""
        declaring = {file.name for file in self.descriptors.file if file.service}
        return tuple(name for name in self.files if name in declaring)

    def foreign(self, prefix: str) -> tuple[str, ...]:
        """The compiled files of other projects whose path starts with `prefix`, sorted."""
        return tuple(sorted(file.name for file in self.descriptors.file if file.name.startswith(prefix)))

    def protoc(self, options: Sequence[str], files: Sequence[str], *, path: Sequence[Path] = ()) -> None:
        """Runs protoc over `files` with the options of a plugin; `path` folders go in front of its PATH."""
        _protoc(self.root, self.third_party, options, files, cwd=self.scratch, path=path)


def load(proto: Path, scratch: Path) -> Sources:
    """Compiles every `.proto` under `proto`; third-party text and the descriptors are written into `scratch`.

    Raises GenerationError with protoc's words when a file does not compile.
    """
    files = tuple(sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto")))
    if not files:
        raise GenerationError(f"there is no .proto file under {proto}")
    imports = third_party.lay_out(scratch / "third_party")
    compiled = scratch / "sources.binpb"
    options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={compiled}"]
    _protoc(proto, imports, options, files + _ERROR_DETAILS, cwd=scratch)
    return Sources(proto, imports, files, compiled.read_bytes(), scratch)


def _protoc(
    proto: Path,
    imports: Path,
    options: Sequence[str],
    files: Sequence[str],
    *,
    cwd: Path,
    path: Sequence[Path] = (),
) -> None:
    folders = (proto, imports, third_party.protoc_includes())
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{folder}" for folder in folders)]
    run([*command, *options, *files], cwd=cwd, path=path)
