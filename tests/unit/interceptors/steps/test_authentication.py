"""Who calls."""

import asyncio
import time
from dataclasses import replace

import pytest

from polyphony.policy.v1 import policy_pb2
from tests.fixtures.ports import ALICE


async def test_a_verified_token_is_found_in_the_cache(world, pb):
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert world.ports.authenticator.verified == []


async def test_an_unknown_token_is_verified(world, pb):
    world.ports.authenticator.warm = False
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert world.ports.authenticator.verified == ["good"]
    assert world.record.actor == "u1"


@pytest.mark.parametrize(
    "header", ["Basic Z29vZA==", "Digest good", "good", "Bearer", "Bearer bad", "bearer  "]
)
async def test_what_is_no_valid_bearer_token_is_refused(world, pb, header):
    request = pb.EchoRequest(parent="users/me", text="p")
    outcome = await world.call("Echo", request, token=None, authorization=header)
    assert outcome.verdict == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
    assert world.record.step == "authentication"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_not_case_sensitive(world, pb, scheme):
    """RFC 9110, 11.1."""
    request = pb.EchoRequest(parent="users/me", text="p")
    outcome = await world.call("Echo", request, token=None, authorization=f"{scheme} good")
    assert outcome.verdict == ("OK", "")


async def test_a_credential_of_another_kind_is_named(world, pb):
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), token="service")
    assert outcome.verdict == ("PERMISSION_DENIED", "CREDENTIAL_KIND_NOT_ACCEPTED")
    assert outcome.info["credential"] == "service"
    assert world.record.actor == "service:ai"


async def test_a_method_may_accept_several_kinds(world, pb):
    outcome = await world.call("Chat", [pb.EchoRequest(text="p")], token="service")
    assert outcome.verdict == ("OK", "")


async def test_a_revoked_session_is_refused_at_once(world, pb):
    world.ports.authenticator.revoked.add("good")
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.verdict == ("UNAUTHENTICATED", "SESSION_REVOKED")


async def test_a_public_method_reads_no_token(world, pb):
    outcome = await world.call("Ping", pb.EchoRequest(text="p"), token="forged")
    assert outcome.verdict == ("OK", "")
    assert (world.record.actor, world.record.tenant) == ("", "-")


async def test_the_delegate_of_a_call_is_on_record(world, pb):
    acting = replace(ALICE, credential=policy_pb2.CREDENTIAL_SERVICE, actor="service:ai")
    world.ports.authenticator.identities["acting"] = acting
    await world.call("Chat", [pb.EchoRequest(text="p")], token="acting")
    assert (world.record.actor, world.record.delegate) == ("u1", "service:ai")


async def test_a_token_that_expires_ends_its_stream_at_the_next_message(world, pb):
    short = replace(ALICE, expires=time.time() + 0.1)
    world.ports.authenticator.identities["short"] = short

    async def slowly():
        yield pb.EchoRequest(text="a")
        await asyncio.sleep(0.2)
        yield pb.EchoRequest(text="b")

    outcome = await world.call("Chat", slowly(), token="short")
    assert [response.text for response in outcome.responses] == ["a"]
    assert outcome.verdict == ("UNAUTHENTICATED", "CREDENTIAL_EXPIRED")
    assert world.record.reason == "CREDENTIAL_EXPIRED"


async def test_a_token_that_is_known_no_more_ends_its_stream_at_the_next_message(world, pb):
    """Its key was taken away, or it was forgotten: nobody could say that its session still lives."""
    answered = asyncio.Event()

    async def slowly():
        yield pb.EchoRequest(text="a")
        await answered.wait()
        world.ports.authenticator.warm = False
        yield pb.EchoRequest(text="b")

    outcome = await world.call("Chat", slowly(), arrived=lambda _: answered.set())
    assert [response.text for response in outcome.responses] == ["a"]
    assert outcome.verdict == ("UNAUTHENTICATED", "CREDENTIAL_EXPIRED")
