"""All four arities, answered alike over a socket and in memory."""

import asyncio

import pytest

EVERY_ARITY = pytest.mark.parametrize(
    ("method", "texts", "answers"),
    [
        ("Echo", ["hello"], ["hello"]),
        ("Collect", ["a", "b", "c"], ["a,b,c"]),
        ("Repeat", ["again"], ["again", "again"]),
        ("Chat", ["a", "b"], ["a", "b"]),
    ],
)


def requests(pb, method, texts):
    made = [pb.EchoRequest(parent="users/me", text=text, count=2) for text in texts]
    return made if method in {"Collect", "Chat"} else made[0]


@EVERY_ARITY
async def test_an_allowed_call_is_answered_and_leaves_one_record(world, pb, method, texts, answers):
    outcome = await world.call(method, requests(pb, method, texts))
    assert [response.text for response in outcome.responses] == answers
    assert outcome.verdict == ("OK", "")
    record = world.record
    assert (record.code, record.reason, record.step) == (0, "", "")
    assert (record.requests, record.responses) == (len(texts), len(answers))
    assert record.method == f"echo.v1.EchoService/{method}"
    if world.transport == "grpc.aio":
        assert outcome.trailers["polyphony-audit-id"] == record.id


@EVERY_ARITY
async def test_a_handler_that_breaks_leaks_nothing(world, pb, method, texts, answers):
    outcome = await world.call(method, requests(pb, method, ["boom"]))
    assert outcome.verdict == ("INTERNAL", "INTERNAL")
    assert outcome.info["incident"] == world.record.id
    seen = repr((outcome.message, outcome.raw, outcome.trailers))
    assert "s3cret" not in seen
    assert "ValueError" not in seen
    assert (world.record.code, world.record.reason) == (13, "INTERNAL")


@EVERY_ARITY
async def test_a_fault_of_the_handler_reaches_the_caller(world, pb, method, texts, answers):
    outcome = await world.call(method, requests(pb, method, ["abort"]))
    assert outcome.verdict == ("FAILED_PRECONDITION", "STATE_CONFLICT")
    assert outcome.message == "Not now."
    assert outcome.info["remedy"]
    assert world.record.reason == "STATE_CONFLICT"


@EVERY_ARITY
async def test_a_handler_that_cancels_itself_leaves_nobody_waiting(world, pb, method, texts, answers):
    outcome = await world.call(method, requests(pb, method, ["cancel"]), seconds=5)
    assert outcome.verdict == ("INTERNAL", "INTERNAL")
    assert world.record.reason == "INTERNAL"


@EVERY_ARITY
async def test_no_call_begins_without_a_credential(world, pb, method, texts, answers):
    outcome = await world.call(method, requests(pb, method, texts), token=None)
    assert outcome.verdict == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
    assert world.servicer.seen == []
    assert (world.record.step, world.record.tenant, world.record.actor) == ("authentication", "-", "")


@EVERY_ARITY
async def test_malformed_bytes_are_the_callers_fault(world, pb, method, texts, answers):
    outcome = await world.call(method, b"\xff\xff\xff")
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")
    assert world.record.reason == "REQUEST_MALFORMED"


@EVERY_ARITY
async def test_an_oversize_request_is_refused_with_the_limit(world, pb, method, texts, answers):
    outcome = await world.call(method, pb.EchoRequest(text="x" * 70_000))
    assert outcome.verdict == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    assert outcome.info["limit_bytes"] == "65536"
    assert world.record.reason == "REQUEST_TOO_LARGE"


async def test_a_later_message_of_a_stream_is_checked_like_the_first(world, pb):
    sent = [pb.EchoRequest(parent="users/me", text="a"), pb.EchoRequest(text="b", count=-1)]
    outcome = await world.call("Collect", sent)
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert outcome.fields == ["count"]
    assert world.record.reason == "REQUEST_INVALID"


async def test_a_stream_without_a_first_message_names_what_is_missing(world):
    outcome = await world.call("Collect", [])
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert outcome.fields == ["parent"]


@pytest.mark.parametrize("method", ["Collect", "Chat"])
async def test_a_stream_that_its_caller_breaks_off_is_not_taken_for_a_finished_one(world, pb, method):
    """grpc.aio reads the end of the stream in both cases."""

    async def requests():
        yield pb.EchoRequest(parent="users/me", text="a")
        await asyncio.sleep(60)

    for broken in range(1, 11):
        call = asyncio.create_task(world.call(method, requests()))
        await asyncio.sleep(0.03)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        for _ in range(200):
            if len(world.ports.audit.rows) == broken:
                break
            await asyncio.sleep(0.01)
    assert [record.reason for record in world.ports.audit.read()] == ["CANCELLED"] * 10
