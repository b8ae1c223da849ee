"""Errors in words."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as pb
from google.rpc import status_pb2

from cli.client.faults import describe


class Refusal(grpc.RpcError):
    """What grpcio raises, as far as a reader of it sees."""

    def __init__(self, *details: Message, trailer: bytes | None = None) -> None:
        status = status_pb2.Status()
        for detail in details:
            status.details.add().Pack(detail)
        self._trailer = status.SerializeToString() if trailer is None else trailer

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.FAILED_PRECONDITION

    def details(self) -> str:
        return "no"

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._trailer),)


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        (
            pb.ErrorInfo(
                reason="CONSENT_MISSING", domain="polyphony", metadata={"purpose": "import-history"}
            ),
            "  reason: CONSENT_MISSING (polyphony) purpose=import-history",
        ),
        (
            pb.BadRequest(
                field_violations=[pb.BadRequest.FieldViolation(field="email", description="is empty")]
            ),
            "  field email: is empty",
        ),
        (
            pb.PreconditionFailure(
                violations=[
                    pb.PreconditionFailure.Violation(type="CONSENT", subject="users/1", description="none")
                ]
            ),
            "  precondition CONSENT users/1: none",
        ),
    ],
)
def test_each_detail_is_one_line(detail: Message, line: str) -> None:
    assert describe(Refusal(detail)) == ["FAILED_PRECONDITION: no", line]


def test_when_to_come_back() -> None:
    retry = pb.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(milliseconds=1500))
    assert describe(Refusal(retry))[1] == "  try again in 1.5 s"


def test_details_that_cannot_be_read_are_left_out() -> None:
    unknown = any_pb2.Any(type_url="type.googleapis.com/other.Thing", value=b"\xff")
    status = status_pb2.Status(details=[unknown])
    assert describe(Refusal(trailer=status.SerializeToString())) == ["FAILED_PRECONDITION: no"]
    assert describe(Refusal(trailer=b"\xff\xff\xff")) == ["FAILED_PRECONDITION: no"]
