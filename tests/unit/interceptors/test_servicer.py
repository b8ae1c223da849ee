"""A servicer written for grpc.aio finds what it uses of a context, on every transport."""

from __future__ import annotations

import grpc
import pytest

from tests.unit.interceptors.conftest import TRANSPORTS, Echo, serve


class ByContext(Echo):
    """The same answers as Echo's, in the other style: through the context, and with statuses of its own."""

    async def Echo(self, request, context):
        context.set_trailing_metadata((("echo-note", "kept"),))
        if request.text == "abort":
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "there", (("echo-more", "also"),))
        if request.text == "code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details("nowhere")
        if request.text == "metadata":
            return self.pb.EchoResponse(text=dict(context.invocation_metadata())["echo-asked"])
        if request.text == "peer":
            return self.pb.EchoResponse(text=context.peer())
        return self.pb.EchoResponse(text=request.text)

    async def Repeat(self, request, context):
        for _ in range(request.count):
            await context.write(self.pb.EchoResponse(text=request.text))
        if request.text == "code":
            context.set_code(grpc.StatusCode.NOT_FOUND)

    async def Collect(self, requests, context):
        texts = []
        while (request := await context.read()) is not grpc.aio.EOF:
            texts.append(request.text)
        return self.pb.EchoResponse(text="+".join(texts))

    async def Chat(self, requests, context):
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(self.pb.EchoResponse(text=request.text))


@pytest.fixture(params=TRANSPORTS)
async def world(request):
    async with serve(request.param, servicer=ByContext()) as world:
        yield world


async def test_it_adds_trailers_to_those_of_the_road(world, pb):
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.trailers["echo-note"] == "kept"
    assert outcome.trailers["polyphony-audit-id"] == world.record.id


async def test_it_ends_a_call_with_a_status_of_its_own(world, pb):
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="abort"))
    assert (outcome.code, outcome.message) == ("ALREADY_EXISTS", "there")
    assert (world.record.code, world.record.reason) == (6, "ALREADY_EXISTS")
    if world.transport == "grpc.aio":
        assert (outcome.trailers["echo-note"], outcome.trailers["echo-more"]) == ("kept", "also")


@pytest.mark.parametrize(("method", "message"), [("Echo", "nowhere"), ("Repeat", "NOT_FOUND")])
async def test_a_code_that_it_sets_is_the_end(world, pb, method, message):
    outcome = await world.call(method, pb.EchoRequest(parent="users/me", text="code", count=1))
    assert (outcome.code, outcome.message) == ("NOT_FOUND", message)
    assert world.record.code == 5


async def test_it_reads_and_writes_streams(world, pb):
    sent = [pb.EchoRequest(parent="users/me", text=text) for text in "ab"]
    assert (await world.call("Collect", sent)).response.text == "a+b"
    assert [response.text for response in (await world.call("Chat", sent)).responses] == ["a", "b"]
    repeated = await world.call("Repeat", pb.EchoRequest(parent="users/me", text="r", count=3))
    assert [response.text for response in repeated.responses] == ["r", "r", "r"]
    assert [(r.requests, r.responses) for r in world.ports.audit.read()] == [(2, 1), (2, 2), (1, 3)]


async def test_it_sees_what_was_sent_along_and_from_where(world, pb):
    asked = await world.call("Echo", pb.EchoRequest(parent="users/me", text="metadata"), echo_asked="yes")
    assert asked.response.text == "yes"
    peer = await world.call("Echo", pb.EchoRequest(parent="users/me", text="peer"))
    assert peer.response.text.startswith("ipv4:127.0.0.1" if world.transport == "grpc.aio" else "memory")
