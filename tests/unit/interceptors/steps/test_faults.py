"""Whatever ends a call, its caller learns a reason and nothing else."""

import logging

import grpc
import pytest

from interceptors import Fault, FieldViolation, Precondition
from interceptors.faults import fault_of
from polyphony.errors.v1 import reason_pb2
from tests.fixtures.callers import Outcome, describe

REASONS = [number for number in reason_pb2.Reason.values() if number]


async def test_the_incident_in_the_answer_finds_the_log(world, pb, caplog):
    with caplog.at_level(logging.ERROR, logger="polyphony.faults"):
        outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="boom"))
    (entry,) = [record for record in caplog.records if record.name == "polyphony.faults"]
    assert entry.incident == outcome.info["incident"] == world.record.id
    assert "s3cret-connection-string" in caplog.text


async def test_a_fault_of_the_contract_is_no_incident(world, pb, caplog):
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="abort"))
    assert not [record for record in caplog.records if record.name == "polyphony.faults"]


async def test_a_tenant_mismatch_raises_an_alarm_and_looks_like_a_missing_row(memory, pb, caplog):
    async def Echo(request, context):
        raise Fault(reason_pb2.REASON_TENANT_MISMATCH)

    memory.servicer.Echo = Echo
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.code == "NOT_FOUND"
    assert "tenant mismatch" in caplog.text


async def test_a_servicers_own_status_passes(memory, pb):
    async def Echo(request, context):
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "there")

    memory.servicer.Echo = Echo
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert (outcome.code, outcome.message) == ("ALREADY_EXISTS", "there")
    assert memory.record.code == grpc.StatusCode.ALREADY_EXISTS.value[0]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_code_and_says_what_to_do(reason):
    fault = Fault(reason)
    assert fault.code not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)
    outcome = describe(Outcome(), fault.code, fault.message, fault.details())
    assert outcome.reason == fault.name
    assert outcome.info["remedy"].endswith(".")


def test_a_fault_in_a_log_reads_as_its_reason_and_message():
    assert str(Fault(reason_pb2.REASON_STATE_CONFLICT, "Not now.")) == "STATE_CONFLICT: Not now."


def test_details_carry_everything_that_the_fault_knows():
    fault = Fault(
        reason_pb2.REASON_REQUEST_INVALID,
        "Two fields are wrong.",
        field="a",
        fields=[FieldViolation("b.c", "too long")],
        preconditions=[Precondition("CONSENT", "import-history", "not given")],
        retry_after=1.5,
        metadata={"limit": "3"},
    )
    outcome = describe(Outcome(), fault.code, fault.message, fault.details())
    assert outcome.fields == ["b.c", "a"]
    assert outcome.preconditions == ["import-history"]
    assert outcome.retry_after == 1.5
    assert outcome.info["limit"] == "3"


@pytest.mark.parametrize(
    "error", [ValueError("s3cret"), KeyError("s3cret"), RuntimeError("s3cret"), MemoryError()]
)
def test_no_exception_speaks_to_the_caller(error):
    fault = fault_of(error)
    assert fault.reason == reason_pb2.REASON_INTERNAL
    assert "s3cret" not in fault.message
    assert b"s3cret" not in fault.details()
