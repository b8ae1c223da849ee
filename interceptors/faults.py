"""The one way a call fails: a `Fault` with a reason of `polyphony.errors.v1.Reason`.

The gRPC code, the remedy and whether a retry may help are declared in the contract beside the
reason, so that code that raises a fault cannot choose a code that the contract does not state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from polyphony.errors.v1 import reason_pb2

ERROR_DOMAIN = "polyphony"

MOST_VIOLATION_BYTES = 4_000
"""Text of field violations in one answer. gRPC drops metadata above 8 KiB, and with it the code and the reason."""

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of the request and what is wrong with it; `path` as in google.rpc.BadRequest."""

    path: str
    description: str


@dataclass(frozen=True, slots=True)
class Precondition:
    """One state that would have to be otherwise, as in google.rpc.PreconditionFailure."""

    type: str
    subject: str
    description: str


class Fault(Exception):
    """A call's refusal or failure, with everything its caller may know about it.

    `message` is one sentence for developers and holds no personal data and no internals.
    `field` is short for one `FieldViolation` whose description is the message.
    `retry_after` is in seconds.
    """

    def __init__(
        self,
        reason: reason_pb2.Reason.ValueType,
        message: str = "",
        *,
        field: str = "",
        fields: Sequence[FieldViolation] = (),
        preconditions: Sequence[Precondition] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.reason = reason
        self.message = message or _policy(reason).remedy
        self.fields = (*fields, FieldViolation(field, self.message)) if field else tuple(fields)
        self.preconditions = tuple(preconditions)
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})
        super().__init__(f"{self.name}: {self.message}")

    @property
    def name(self) -> str:
        """The reason as it travels in ErrorInfo: without the enum's prefix."""
        return reason_name(self.reason)

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code that the contract declares for the reason."""
        return _CODES[_policy(self.reason).code]

    def details(self) -> bytes:
        """The serialized google.rpc.Status for the `grpc-status-details-bin` trailer."""
        policy = _policy(self.reason)
        info = error_details_pb2.ErrorInfo(
            reason=self.name, domain=ERROR_DOMAIN, metadata={**self.metadata, "remedy": policy.remedy}
        )
        parts: list[message.Message] = [info]
        if self.fields:
            parts.append(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(field=v.path, description=v.description)
                        for v in _fitting(self.fields)
                    ]
                )
            )
        if self.preconditions:
            parts.append(
                error_details_pb2.PreconditionFailure(
                    violations=[
                        error_details_pb2.PreconditionFailure.Violation(
                            type=p.type, subject=p.subject, description=p.description
                        )
                        for p in self.preconditions
                    ]
                )
            )
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after * 1e9))
            parts.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=policy.code, message=self.message)
        for part in parts:
            packed = any_pb2.Any()
            packed.Pack(part)
            status.details.append(packed)
        serialized: bytes = status.SerializeToString()
        return serialized


def fault_of(error: BaseException) -> Fault:
    """The fault that stands for any exception; what is not a fault tells the client nothing."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, asyncio.CancelledError):
        return Fault(reason_pb2.REASON_CANCELLED)
    if isinstance(error, TimeoutError):
        return Fault(reason_pb2.REASON_DEADLINE_EXCEEDED)
    return Fault(reason_pb2.REASON_INTERNAL, "The mesh failed; the incident id finds this in its log.")


def _fitting(violations: Sequence[FieldViolation]) -> Iterator[FieldViolation]:
    """As many as fit, the first ones."""
    room = MOST_VIOLATION_BYTES
    for violation in violations:
        room -= len(violation.path.encode()) + len(violation.description.encode())
        if room < 0:
            return
        yield violation


@cache
def reason_name(reason: reason_pb2.Reason.ValueType) -> str:
    """`REASON_CONSENT_REQUIRED` as `CONSENT_REQUIRED`."""
    return reason_pb2.Reason.Name(reason).removeprefix("REASON_")


@cache
def _policy(reason: reason_pb2.Reason.ValueType) -> reason_pb2.ReasonPolicy:
    value = reason_pb2.Reason.DESCRIPTOR.values_by_number[reason]
    return value.GetOptions().Extensions[reason_pb2.reason]


class Aborted(Fault):
    """A servicer's own `context.abort(code, details)`: the code is the servicer's, the reason is unspecified."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        super().__init__(reason_pb2.REASON_UNSPECIFIED, details or code.name)

    @property
    def name(self) -> str:
        """The name of the code."""
        return self._code.name

    @property
    def code(self) -> grpc.StatusCode:
        """The code that the servicer chose."""
        return self._code

    def details(self) -> bytes:
        """A google.rpc.Status without details."""
        serialized: bytes = status_pb2.Status(
            code=self._code.value[0], message=self.message
        ).SerializeToString()
        return serialized
