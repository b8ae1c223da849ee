"""Decodes requests and holds them against the bounds that their contract declares (protovalidate)."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import DecodeError, Message

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault, FieldViolation
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2

_validator = protovalidate.Validator()

_NAMED = 8
"""Fields that the message of a refusal names; its details name more."""


def validation(_road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Decode and check the request, or each request of a stream as it arrives."""
    parse = method.request_class.FromString
    collect = _validator.collect_violations

    def decode(body: bytes) -> Message:
        try:
            message = parse(body)
        except DecodeError:
            raise Fault(
                reason_pb2.REASON_REQUEST_MALFORMED,
                f"The request's bytes are not a {method.descriptor.input_type.full_name}.",
            ) from None
        if violations := collect(message):
            raise invalid(violations)
        return message

    async def validated(call: Call) -> bytes | None:
        call.step = "validation"
        if call.body is not None:
            call.requests = 1
            call.request = decode(call.body)
        else:
            call.decode = decode
        return await onward(call)

    return validated


def invalid(violations: list[protovalidate.Violation]) -> Fault:
    """The fault that names each field which breaks its bound."""
    fields = [FieldViolation(_path(violation), violation.proto.message) for violation in violations]
    paths = sorted({found.path for found in fields if found.path})
    named = ", ".join(paths[:_NAMED]) + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
    return Fault(
        reason_pb2.REASON_REQUEST_INVALID, f"The request breaks its contract: {named}.", fields=fields
    )


def _path(violation: protovalidate.Violation) -> str:
    parts = []
    for element in violation.proto.field.elements if violation.proto.field is not None else ():
        index = f"[{element.subscript.value}]" if element.subscript else ""
        parts.append(element.field_name + index)
    return ".".join(parts)
