"""Exactly one durable record of every call."""

import asyncio

import pytest

from interceptors.call import current_call
from tests.fixtures.ports import write


async def test_the_record_of_a_change_commits_with_it(world, pb):
    await world.call("Change", pb.EchoRequest(text="p"))
    assert [entry.id for entry in world.ports.audit.committed] == [world.record.id]
    assert world.record.code == 0


async def test_a_change_that_cannot_commit_is_recorded_as_refused(world, pb):
    outcome = await world.call("Change", pb.EchoRequest(text="full"))
    assert outcome.verdict == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    assert world.ports.audit.committed == []
    assert world.record.reason == "STORAGE_UNAVAILABLE"


async def test_what_happens_after_the_commit_adds_no_second_record(world, pb):
    """The change stands and so does its record, although the handler failed to answer."""
    outcome = await world.call("Change", pb.EchoRequest(text="boom"))
    assert outcome.reason == "INTERNAL"
    assert world.servicer.changes == ["boom"]
    assert world.record.code == 0


@pytest.mark.parametrize(("method", "answered"), [("Echo", 1), ("Collect", 0), ("Repeat", 0), ("Chat", 0)])
async def test_a_call_whose_record_cannot_be_written_is_refused(world, pb, method, answered):
    """A stream is refused before its handler runs; a read is refused after it, with nothing answered."""
    world.ports.audit.broken = True
    outcome = await world.call(method, pb.EchoRequest(parent="users/me", text="p", count=1))
    assert outcome.verdict == ("UNAVAILABLE", "AUDIT_UNAVAILABLE")
    assert outcome.responses == []
    assert len(world.servicer.seen) == answered


async def test_a_record_that_may_be_lost_is_missed_in_the_log_only(memory, pb, caplog):
    from polyphony.policy.v1 import policy_pb2

    method = memory.caller._methods["/echo.v1.EchoService/Echo"]
    method.__dict__["audit_required"] = policy_pb2.AUDIT_FAILURE_ALLOW != policy_pb2.AUDIT_FAILURE_ALLOW
    memory.ports.audit.broken = True
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.verdict == ("OK", "")
    assert "audit record lost" in caplog.text


@pytest.mark.parametrize("method", ["Repeat", "Chat", "Collect"])
async def test_a_stream_is_on_record_before_its_handler_runs(world, pb, method):
    pending = []

    async def look(text):
        pending.extend(world.ports.audit.pending)

    world.servicer._heed = look
    await world.call(method, pb.EchoRequest(parent="users/me", text="p", count=1))
    assert pending == [world.record.id]


@pytest.mark.parametrize("method", ["Echo", "Change", "Repeat", "Chat", "Collect"])
async def test_a_cancelled_call_leaves_one_record(world, pb, method):
    request = pb.EchoRequest(parent="users/me", text="sleep", count=1)
    call = asyncio.create_task(world.call(method, request))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await world.settled()
    # A change that was committed before the caller left is on record as the success that it was.
    assert world.record.reason == ("" if method == "Change" else "CANCELLED")
    assert world.servicer.ended == ["sleep"]


@pytest.mark.parametrize("method", ["Echo", "Repeat", "Chat", "Collect"])
async def test_a_call_past_its_deadline_leaves_one_record(world, pb, method):
    """A caller whose words were long on the way gives up before our clock says so: on a socket that looks like leaving,
    and on a busy machine it happens, but not each time."""
    request = pb.EchoRequest(parent="users/me", text="sleep", count=1)
    reasons = []
    for _ in range(1 if world.transport == "memory" else 4):
        outcome = await world.call(method, request, seconds=0.15)
        assert outcome.code == "DEADLINE_EXCEEDED"
        await world.settled()
        await asyncio.sleep(0.05)
        reasons = [record.reason for record in world.ports.audit.read()]
    assert world.servicer.ended == ["sleep"] * len(reasons)
    assert "DEADLINE_EXCEEDED" in reasons
    assert set(reasons) <= {"DEADLINE_EXCEEDED", "CANCELLED"}


async def test_concurrent_calls_each_leave_their_own(world, pb):
    sent = [world.call("Echo", pb.EchoRequest(parent="users/me", text=str(n))) for n in range(50)]
    outcomes = await asyncio.gather(*sent)
    records = world.ports.audit.read()
    assert len(records) == 50
    if world.transport == "grpc.aio":
        assert {outcome.trailers["polyphony-audit-id"] for outcome in outcomes} == {r.id for r in records}


async def test_participants_see_the_call_they_belong_to(memory, pb):
    with pytest.raises(AssertionError):
        await write(lambda: None)
    assert current_call() is None
    await memory.call("Change", pb.EchoRequest(text="p"))
    assert current_call() is None
