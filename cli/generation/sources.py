"""What everything is generated from: our `.proto` files, those they import, and their compiled descriptors."""

import sys
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from cli.generation import third_party
from cli.generation.tools import GenerationError, run


@dataclass(frozen=True)
class Sources:
    """Our contracts, compiled once."""

    root: Path
    """The folder of our own `.proto` files."""
    third_party: Path
    """The folder of those of other projects."""
    files: tuple[str, ...]
    """Our files, relative to `root`, sorted."""
    descriptors: FileDescriptorSet
    """Our files and everything that they import, with source information (comments)."""

    def with_services(self) -> tuple[str, ...]:
        """Those of `files` that declare a service."""
        declaring = {file.name for file in self.descriptors.file if file.service}
        return tuple(name for name in self.files if name in declaring)

    def imported(self, prefix: str) -> tuple[str, ...]:
        """The third-party files that we import, directly or not, whose path starts with `prefix`."""
        return tuple(sorted(file.name for file in self.descriptors.file if file.name.startswith(prefix)))


def load(proto: Path, scratch: Path) -> Sources:
    """Compiles every `.proto` under `proto`; third-party text and the descriptors are written into `scratch`.

    Raises GenerationError with protoc's words when a file does not compile.
    """
    files = tuple(sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto")))
    if not files:
        raise GenerationError(f"there is no .proto file under {proto}")
    imports = third_party.lay_out(scratch / "third_party")
    compiled = scratch / "sources.binpb"
    protoc(
        proto,
        imports,
        ["--include_imports", "--include_source_info", f"--descriptor_set_out={compiled}"],
        files,
    )
    return Sources(proto, imports, files, FileDescriptorSet.FromString(compiled.read_bytes()))


def protoc(proto: Path, imports: Path, options: list[str], files: tuple[str, ...]) -> None:
    """Runs grpcio-tools' protoc over `files`; the google.protobuf files come with it."""
    folders = (proto, imports, third_party.protoc_includes())
    run(
        [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{folder}" for folder in folders), *options, *files],
        cwd=proto,
    )
