"""Lays out the `.proto` files of other projects that ours import.

They are not committed: google/api and google/rpc come as text out of googleapis-common-protos, google/protobuf out of
grpcio-tools, and buf/validate is printed from the descriptor inside protovalidate. So their version is the locked
package's, and generating needs no network.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from protovalidate import ViolationPb

from cli.generation.descriptor_printer import print_file
from cli.generation.tools import package

_GOOGLE_FOLDERS = ("api", "longrunning", "rpc", "type")
_VALIDATE_PROTO = "buf/validate/validate.proto"


def lay_out(root: Path) -> Path:
    """Fills the empty or new folder `root` with the third-party `.proto` files, and returns it."""
    for folder in _GOOGLE_FOLDERS:
        for path in sorted(package(f"google.{folder}").glob("*.proto")):
            _write(root / "google" / folder / path.name, path.read_text(encoding="utf-8"))
    _write(root / _VALIDATE_PROTO, print_file(validate_descriptor(), well_known_imports()))
    return root


def validate_descriptor() -> FileDescriptorProto:
    """The descriptor of buf/validate/validate.proto that the installed protovalidate enforces."""
    return FileDescriptorProto.FromString(ViolationPb.desc().file.proto.to_binary())


def well_known_imports() -> list[FileDescriptorProto]:
    """The google.protobuf files that validate.proto imports, in dependency order."""
    files = []
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return files


def protoc_includes() -> Path:
    """The folder of grpcio-tools that holds google/protobuf/*.proto."""
    return package("grpc_tools") / "_proto"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
