"""A gRPC error of the mesh in words: its reason, what to mend, when to come back."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

AUDIT_TRAILER = "polyphony-audit-id"
_DETAILS_TRAILER = "grpc-status-details-bin"

_KINDS: tuple[type[Any], ...] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.RetryInfo,
    error_details_pb2.ResourceInfo,
    error_details_pb2.QuotaFailure,
    error_details_pb2.LocalizedMessage,
    error_details_pb2.Help,
)


def describe(error: grpc.RpcError) -> list[str]:
    """The error in lines: code and message first, then one line for each thing that its details say."""
    lines = [f"{error.code().name}: {error.details()}"]
    for detail in details(error):
        lines.extend(f"  {line}" for line in _words(detail))
    return lines


def details(error: grpc.RpcError) -> Iterator[Message]:
    """The google.rpc error details that came with the error, in their order; those of unknown type are left out."""
    raw = trailers(error).get(_DETAILS_TRAILER)
    if not isinstance(raw, bytes):
        return
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        return
    for packed in status.details:
        for kind in _KINDS:
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                yield message


def trailers(call: Any) -> dict[str, str | bytes]:
    """What came behind the last message of a call or with an error."""
    return dict(call.trailing_metadata() or ())


def _words(detail: Message) -> Iterator[str]:
    match detail:
        case error_details_pb2.ErrorInfo():
            about = ", ".join(f"{key}={value}" for key, value in sorted(detail.metadata.items()))
            yield f"reason: {detail.reason} ({detail.domain})" + (f" {about}" if about else "")
        case error_details_pb2.BadRequest():
            for violation in detail.field_violations:
                yield f"field {violation.field}: {violation.description}"
        case error_details_pb2.PreconditionFailure():
            for violation in detail.violations:
                yield f"precondition {violation.type} {violation.subject}: {violation.description}"
        case error_details_pb2.QuotaFailure():
            for violation in detail.violations:
                yield f"quota {violation.subject}: {violation.description}"
        case error_details_pb2.RetryInfo():
            yield f"try again in {detail.retry_delay.ToTimedelta().total_seconds():g} s"
        case error_details_pb2.ResourceInfo():
            yield f"resource {detail.resource_type} {detail.resource_name}: {detail.description}"
        case error_details_pb2.LocalizedMessage():
            yield detail.message
        case error_details_pb2.Help():
            for link in detail.links:
                yield f"{link.description}: {link.url}"
