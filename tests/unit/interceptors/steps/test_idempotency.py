"""A retry with the same request id is the same call."""

import asyncio

import pytest


async def test_a_replay_is_answered_alike_and_changes_nothing(world, pb):
    request = pb.EchoRequest(text="p", request_id="abc")
    first = await world.call("Change", request)
    second = await world.call("Change", request)
    assert first.response == second.response
    assert world.servicer.changes == ["p"]
    original, replay = world.ports.audit.read()
    assert (original.replayed, replay.replayed) == (False, True)
    assert (replay.code, replay.responses) == (0, 1)


async def test_another_request_under_the_same_id_is_refused(world, pb):
    await world.call("Change", pb.EchoRequest(text="p", request_id="abc"))
    outcome = await world.call("Change", pb.EchoRequest(text="q", request_id="abc"))
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert outcome.fields == ["request_id"]
    assert world.servicer.changes == ["p"]


async def test_a_failed_change_keeps_no_answer(world, pb):
    request = pb.EchoRequest(text="full", request_id="abc")
    for _ in range(2):
        assert (await world.call("Change", request)).reason == "STORAGE_UNAVAILABLE"
    assert world.ports.idempotency.kept == {}


async def test_without_a_request_id_each_call_is_its_own(world, pb):
    for _ in range(2):
        await world.call("Change", pb.EchoRequest(text="p"))
    assert world.servicer.changes == ["p", "p"]
    assert world.ports.idempotency.kept == {}


async def test_ids_of_different_callers_have_nothing_to_do_with_each_other(world, pb):
    from dataclasses import replace

    from tests.fixtures.ports import ALICE

    world.ports.authenticator.identities["bob"] = replace(ALICE, user="u2")
    world.ports.authenticator.identities["elsewhere"] = replace(ALICE, tenant="t2")
    for token in ("good", "bob", "elsewhere"):
        outcome = await world.call("Change", pb.EchoRequest(text=token, request_id="abc"), token=token)
        assert outcome.verdict == ("OK", "")
    assert world.servicer.changes == ["good", "bob", "elsewhere"]


async def test_a_method_without_retention_replays_nothing(world, pb):
    for _ in range(2):
        await world.call("Echo", pb.EchoRequest(parent="users/me", text="p", request_id="abc"))
    assert len(world.servicer.seen) == 2


async def test_a_write_that_returns_no_response_cannot_be_replayed(memory, pb):
    from tests.fixtures.ports import write

    async def Change(request, context):
        await write(lambda: "not a message")

    memory.servicer.Change = Change
    outcome = await memory.call("Change", pb.EchoRequest(text="p", request_id="abc"))
    assert outcome.verdict == ("INTERNAL", "INTERNAL")
    assert memory.record.reason == "INTERNAL"


@pytest.mark.parametrize("many", [8])
async def test_retries_at_the_same_time_change_once(world, pb, many):
    request = pb.EchoRequest(text="p", request_id="abc")
    outcomes = await asyncio.gather(*[world.call("Change", request) for _ in range(many)])
    assert {outcome.response.text for outcome in outcomes} == {"p 1"}
    assert len(world.ports.audit.read()) == many
