"""An open stream ends when its ground is gone: consent, right, session."""

import asyncio
from dataclasses import replace

import pytest

from interceptors.ports import ConsentState
from tests.fixtures.ports import ALICE

OPEN = pytest.mark.parametrize("method", ["Repeat", "Chat", "Collect"])


class Opened:
    """A stream that is open and idle: it has said one thing and now waits."""

    def __init__(self, world, pb, method, token="good"):  # noqa: S107
        self.go = asyncio.Event()
        request = pb.EchoRequest(parent="users/me", text="sleep" if method == "Repeat" else "a", count=1)
        self._world = world

        async def wait():
            yield request
            await self.go.wait()

        self.task = asyncio.create_task(
            world.call(method, request if method == "Repeat" else wait(), token=token, seconds=5)
        )

    async def begun(self):
        for _ in range(200):
            if self._world.ports.audit.pending:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not self.task.done()


@OPEN
async def test_a_withdrawn_consent_ends_it(world, pb, method):
    stream = Opened(world, pb, method)
    await stream.begun()
    world.ports.consents.withdraw()
    outcome = await stream.task
    assert outcome.verdict == ("FAILED_PRECONDITION", "CONSENT_WITHDRAWN")
    await world.settled()
    assert world.record.reason == "CONSENT_WITHDRAWN"


@OPEN
async def test_a_withdrawn_right_ends_it(world, pb, method):
    stream = Opened(world, pb, method)
    await stream.begun()
    world.ports.authorizer.allowed = False
    world.ports.authorizer.changed()
    outcome = await stream.task
    assert outcome.verdict == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    await world.settled()
    assert world.record.reason == "PERMISSION_DENIED"


@OPEN
async def test_an_ended_session_ends_it(world, pb, method):
    stream = Opened(world, pb, method)
    await stream.begun()
    world.ports.authenticator.revoked.add("good")
    world.ports.authorizer.changed()
    outcome = await stream.task
    assert outcome.verdict == ("UNAUTHENTICATED", "SESSION_REVOKED")
    await world.settled()
    assert world.record.reason == "SESSION_REVOKED"


async def test_somebody_elses_withdrawal_does_not(world, pb):
    stream = Opened(world, pb, "Chat")
    await stream.begun()
    world.ports.consents.withdraw("u2")
    world.ports.consents.state = ConsentState.GRANTED
    await asyncio.sleep(0.05)
    assert not stream.task.done()
    stream.go.set()
    assert (await stream.task).verdict == ("OK", "")


async def test_a_change_that_takes_nothing_away_does_not(world, pb):
    stream = Opened(world, pb, "Chat")
    await stream.begun()
    world.ports.authorizer.changed()
    stream.go.set()
    assert (await stream.task).verdict == ("OK", "")


async def test_a_consent_withdrawn_before_the_news_is_seen_at_the_next_message(world, pb):
    """No notification: the state alone is enough, because every message is checked."""

    async def requests():
        yield pb.EchoRequest(text="a")
        await asyncio.sleep(0.1)
        world.ports.consents.state = ConsentState.WITHDRAWN
        yield pb.EchoRequest(text="b")

    outcome = await world.call("Chat", requests())
    assert [response.text for response in outcome.responses] == ["a"]
    assert outcome.verdict == ("FAILED_PRECONDITION", "CONSENT_WITHDRAWN")


async def test_each_request_is_held_against_the_state_of_its_moment(world, pb):
    """Where nothing is answered meanwhile, it is the next request that sees it."""

    async def requests():
        yield pb.EchoRequest(parent="users/me", text="a")
        await asyncio.sleep(0.1)
        world.ports.consents.state = ConsentState.WITHDRAWN
        yield pb.EchoRequest(text="b")

    outcome = await world.call("Collect", requests())
    assert outcome.verdict == ("FAILED_PRECONDITION", "CONSENT_WITHDRAWN")
    assert world.record.requests == 1


async def test_each_response_is_held_against_the_state_of_its_moment(memory, pb):
    """Where nothing is asked meanwhile, it is the next response that is not sent."""

    async def Repeat(request, context):
        yield pb.EchoResponse(text="a")
        memory.ports.consents.state = ConsentState.WITHDRAWN
        yield pb.EchoResponse(text="b")

    memory.servicer.Repeat = Repeat
    outcome = await memory.call("Repeat", pb.EchoRequest(parent="users/me", text="p", count=1))
    assert [response.text for response in outcome.responses] == ["a"]
    assert outcome.verdict == ("FAILED_PRECONDITION", "CONSENT_WITHDRAWN")


async def test_only_the_streams_of_the_withdrawn_token_end(world, pb):
    world.ports.authenticator.identities["bob"] = replace(ALICE, user="u2")
    alice, bob = Opened(world, pb, "Chat"), Opened(world, pb, "Chat", token="bob")
    await alice.begun()
    world.ports.authenticator.revoked.add("good")
    world.ports.authorizer.changed()
    assert (await alice.task).reason == "SESSION_REVOKED"
    assert not bob.task.done()
    bob.go.set()
    assert (await bob.task).verdict == ("OK", "")


async def test_a_unary_call_that_runs_is_answered(memory, pb):
    """A unary call stands on what held when it began; its change commits or it does not."""

    async def Echo(request, context):
        memory.ports.consents.withdraw()
        await asyncio.sleep(0)
        return pb.EchoResponse(text="done")

    memory.servicer.Echo = Echo
    outcome = await memory.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.response.text == "done"


async def test_a_consent_withdrawn_while_the_stream_opens_is_not_missed(memory, pb):
    """Between the check at the opening and the first message lies the writing of the record."""
    opened = memory.ports.audit.open

    async def open_and_withdraw(entry):
        await opened(entry)
        memory.ports.consents.state = ConsentState.WITHDRAWN

    memory.ports.audit.open = open_and_withdraw
    outcome = await memory.call("Repeat", pb.EchoRequest(parent="users/me", text="p", count=1))
    assert outcome.responses == []
    assert outcome.reason == "CONSENT_WITHDRAWN"


@OPEN
async def test_one_person_cannot_hold_every_place(world, pb, method, monkeypatch):
    """Nor with streams that never say a word, which is where a client stream waits before anything is bound."""
    monkeypatch.setattr("interceptors.streams.MOST_OF_A_PERSON", 3)
    world.ports.authenticator.identities["bob"] = replace(ALICE, user="u2", session="s2")
    held = [Opened(world, pb, method) for _ in range(3)]
    for _ in range(200):
        if world.ports.limiter.inside == 3:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    refused = await Opened(world, pb, method).task
    assert refused.verdict == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    other = Opened(world, pb, method, token="bob")
    await asyncio.sleep(0.1)
    assert not other.task.done()
    other.task.cancel()
    for stream in held:
        stream.task.cancel()
    await world.settled()
    again = Opened(world, pb, method)
    await again.begun()
    again.task.cancel()
    await world.settled()


@OPEN
async def test_a_stream_that_ended_is_watched_no_more(world, pb, method):
    for text in ("a", "boom", "abort"):
        await world.call(method, pb.EchoRequest(parent="users/me", text=text, count=1))
    stream = Opened(world, pb, method)
    await stream.begun()
    assert len(world.road.streams) == 1
    stream.task.cancel()
    await world.settled()
    assert len(world.road.streams) == 0
