"""What is too much is refused before anything is done for it."""

import asyncio

import pytest

from interceptors import Fault
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (reason_pb2.REASON_RATE_LIMITED, ("RESOURCE_EXHAUSTED", "RATE_LIMITED")),
        (reason_pb2.REASON_OVERLOADED, ("UNAVAILABLE", "OVERLOADED")),
    ],
)
async def test_a_refused_call_is_told_when_to_try_again(world, pb, reason, verdict):
    world.ports.limiter.refusal = Fault(reason, retry_after=0.25)
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.verdict == verdict
    assert outcome.retry_after == 0.25
    assert (world.record.step, world.record.actor) == ("limits", "")


async def test_a_call_takes_its_place_and_gives_it_back_however_it_ends(world, pb):
    for text in ("p", "boom", "abort"):
        await world.call("Echo", pb.EchoRequest(parent="users/me", text=text))
    await world.call("Echo", b"\xff")
    call = asyncio.create_task(world.call("Echo", pb.EchoRequest(parent="users/me", text="sleep")))
    await asyncio.sleep(0.1)
    assert world.ports.limiter.inside == 1
    call.cancel()
    await world.settled()
    assert len(world.ports.limiter.admitted) == 5
    assert world.ports.limiter.admitted[0] == ("Bearer good", 1, policy_pb2.PRIORITY_NORMAL)


async def test_a_credential_that_nobody_verifies_buys_no_budget_of_its_own(world, pb):
    """A method that is only public reads no token: whoever invents one for each call must not be a new caller."""
    for invented in ("a", "b"):
        await world.call("Ping", pb.EchoRequest(text="p"), token=invented)
    assert [credential for credential, _, _ in world.ports.limiter.admitted] == ["", ""]


@pytest.mark.parametrize("excess", [0, 1])
async def test_the_limit_is_exact(world, pb, excess):
    """Ping accepts 256 bytes: three of them are the tag and the length of the text."""
    body = pb.EchoRequest(text="x" * (253 + excess)).SerializeToString()
    assert len(body) == 256 + excess
    outcome = await world.call("Ping", body)
    assert outcome.verdict == (("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE") if excess else ("OK", ""))


async def test_every_message_of_a_stream_is_measured(world, pb):
    sent = [pb.EchoRequest(text="a"), pb.EchoRequest(text="x" * 70_000)]
    outcome = await world.call("Chat", sent)
    assert outcome.verdict == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    assert [response.text for response in outcome.responses] == ["a"]


async def test_a_caller_is_where_the_edge_saw_it_and_else_where_the_transport_did(world, pb):
    """A client may write what it likes into the header; the edge appends what it saw."""
    request = pb.EchoRequest(text="p")
    await world.call("Ping", request, x_forwarded_for="10.9.9.9, 203.0.113.7")
    await world.call("Ping", request, x_forwarded_for="203.0.113.8 ")
    await world.call("Ping", request)
    await world.call("Ping", request, x_forwarded_for="203.0.113.9,")
    first, second, *others = world.ports.limiter.origins
    assert (first, second) == ("203.0.113.7", "203.0.113.8")
    peer = "ipv4:127.0.0.1:" if world.transport == "grpc.aio" else "memory"
    assert all(origin.startswith(peer) for origin in others)
