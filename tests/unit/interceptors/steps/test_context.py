"""What everything that runs for a call can know of it, and when it must end."""

import asyncio

import pytest

from interceptors.call import current_call

PARENT = "0199f3a2-7b1c-7def-8abc-0123456789ab"


async def test_the_handler_sees_the_call(world, pb):
    seen = []

    async def look(text):
        seen.append(current_call())

    world.servicer._heed = look
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    (call,) = seen
    assert call.id == world.record.id
    assert (call.identity.user, call.subject, call.resource, call.purpose) == ("u1", "u1", "users/u1", 3)


async def test_a_servicer_can_ask_how_long_it_has(memory, pb):
    remaining = []

    async def Echo(request, context):
        remaining.append(context.time_remaining())
        return pb.EchoResponse()

    memory.servicer.Echo = Echo
    await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"), seconds=3)
    assert 9 < remaining[0] <= 10
    assert 2 < remaining[1] <= 3


async def test_the_audit_id_travels_back_and_the_callers_own_is_kept(world, pb):
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), polyphony_parent=PARENT)
    assert outcome.trailers["polyphony-audit-id"] == world.record.id
    assert world.record.parent == PARENT


@pytest.mark.parametrize("words", ["p" * 1000, "ada@example.org", PARENT + "x", PARENT.upper()])
async def test_a_parent_that_is_no_audit_id_is_not_kept(world, pb, words):
    """Records are for ever: what a caller writes must not be."""
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), polyphony_parent=words)
    assert world.record.parent == ""


async def test_a_call_without_a_deadline_gets_the_methods(memory, pb):
    memory.caller._methods["/echo.v1.EchoService/Echo"].__dict__["default_deadline"] = 0.05
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="sleep"))
    assert outcome.verdict == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert memory.record.reason == "DEADLINE_EXCEEDED"


async def test_a_stream_has_no_deadline_of_its_own(memory):
    assert memory.caller._methods["/echo.v1.EchoService/Repeat"].default_deadline is None


async def test_a_deadline_that_has_passed_ends_nothing_that_was_answered(memory, pb):
    """The timer of a call is gone with the call."""
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"), seconds=0.05)
    assert outcome.verdict == ("OK", "")
    await asyncio.sleep(0.1)
    assert memory.record.code == 0


async def test_calls_do_not_see_each_other(memory, pb):
    seen = {}

    async def Echo(request, context):
        await asyncio.sleep(0.01)
        seen[request.text] = current_call().request.text
        return pb.EchoResponse(text=request.text)

    memory.servicer.Echo = Echo
    sent = [memory.call("Echo", pb.EchoRequest(parent="users/me", text=str(n))) for n in range(20)]
    await asyncio.gather(*sent)
    assert seen == {str(n): str(n) for n in range(20)}
