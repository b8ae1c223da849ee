"""What the edge needs to know of the contracts: read from the generated descriptors, nothing from code."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions

from polyphony.policy.v1 import policy_pb2

DESCRIPTORS = Path(__file__).resolve().parents[2] / "gen" / "descriptors" / "polyphony.binpb"
DEFAULT_DEADLINE = timedelta(seconds=10)
"""Of a method whose policy names none; see `MethodPolicy.default_deadline`."""

DEFAULT_MAX_REQUEST_BYTES = 65_536
"""Of a method whose policy names none; see `MethodPolicy.max_request_bytes`."""


@dataclass(frozen=True, slots=True)
class EdgeMethod:
    """One RPC that callers from outside may reach."""

    domain: str
    service: str
    """The full name: `polyphony.auth.v1.AuthService`."""
    name: str
    repeatable: bool
    """Whether a second attempt is harmless although the first may have been carried out."""
    client_streams: bool
    server_streams: bool
    deadline: timedelta
    """What the service grants a unary call that brings no deadline of its own."""
    max_request_bytes: int
    """The largest request message that the service accepts."""
    has_json: bool

    @property
    def path(self) -> str:
        """The HTTP/2 path of the method."""
        return f"/{self.service}/{self.name}"


def edge_methods(descriptors: Path = DESCRIPTORS) -> list[EdgeMethod]:
    """Every method that someone other than a service may call, in the order of the contracts.

    A method that only services may call has no place at the edge. Raises `FileNotFoundError` when nothing was
    generated yet.
    """
    files = FileDescriptorSet.FromString(descriptors.read_bytes())
    return list(_methods(files))


def _methods(files: FileDescriptorSet) -> Iterator[EdgeMethod]:
    for file in files.file:
        for service in file.service:
            for method in service.method:
                policy = method.options.Extensions[policy_pb2.method]
                if set(policy.credentials) <= {policy_pb2.CREDENTIAL_SERVICE}:
                    continue
                yield EdgeMethod(
                    domain=file.package.split(".")[1],
                    service=f"{file.package}.{service.name}",
                    name=method.name,
                    repeatable=method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
                    client_streams=method.client_streaming,
                    server_streams=method.server_streaming,
                    deadline=_deadline(policy),
                    max_request_bytes=policy.max_request_bytes or DEFAULT_MAX_REQUEST_BYTES,
                    has_json=_has_json(method),
                )


def _deadline(policy: policy_pb2.MethodPolicy) -> timedelta:
    if policy.HasField("default_deadline"):
        return policy.default_deadline.ToTimedelta()
    return DEFAULT_DEADLINE


def _has_json(method: MethodDescriptorProto) -> bool:
    return method.options.HasExtension(annotations_pb2.http)
