"""On what, and whose is it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ANY_ARITY = pytest.mark.parametrize("method", ["Echo", "Repeat", "Collect"])


@ANY_ARITY
async def test_me_is_the_caller_before_the_handler_looks(world, pb, method):
    await world.call(method, pb.EchoRequest(parent="users/me", text="p", count=1))
    assert (world.record.resource, world.record.subject) == ("users/u1", "u1")
    if method == "Echo":
        assert world.servicer.seen[0].parent == "users/u1"


@ANY_ARITY
async def test_another_persons_resource_is_refused(world, pb, method):
    outcome = await world.call(method, pb.EchoRequest(parent="users/u2", text="p", count=1))
    assert outcome.verdict == ("PERMISSION_DENIED", "RESOURCE_NOT_OWNED")
    assert outcome.fields == ["parent"]
    assert world.record.step == "resource_binding"


@ANY_ARITY
async def test_the_tenants_scope_reaches_further(world, pb, method):
    world.ports.authorizer.scope = "tenant"
    outcome = await world.call(method, pb.EchoRequest(parent="users/u2", text="p", count=1))
    assert outcome.verdict == ("OK", "")
    assert (world.record.actor, world.record.subject) == ("u1", "u2")


@ANY_ARITY
@pytest.mark.parametrize("name", ["", "users/", "users/me/imports/a", "u1", "users/u1\n", "USERS/u1"])
async def test_a_name_of_another_form_says_which_form_is_right(world, pb, method, name):
    outcome = await world.call(method, pb.EchoRequest(parent=name, text="p", count=1))
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert outcome.fields == ["parent"]
    if name:
        assert "users/{user}" in outcome.message


async def test_a_stream_acts_on_one_resource(world, pb):
    world.ports.authorizer.scope = "tenant"
    sent = [pb.EchoRequest(parent="users/u1", text="a"), pb.EchoRequest(parent="users/u2", text="b")]
    outcome = await world.call("Collect", sent)
    assert outcome.verdict == ("INVALID_ARGUMENT", "REQUEST_INVALID")
    assert world.record.resource == "users/u1"


async def test_a_later_message_may_repeat_the_resource_or_leave_it_out(world, pb):
    sent = [pb.EchoRequest(parent=name, text="a") for name in ("users/u1", "users/me", "")]
    outcome = await world.call("Collect", sent)
    assert outcome.response.text == "a,a,a"


async def test_a_method_that_binds_nothing_concerns_its_caller(world, pb):
    await world.call("Chat", [pb.EchoRequest(text="p", parent="users/u2")])
    assert (world.record.resource, world.record.subject) == ("", "u1")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(max_size=40), st.from_regex(r"users/[a-z0-9-]{0,8}(/[a-z]*)?", fullmatch=True)))
async def test_whatever_is_named_only_ones_own_is_reached(memory, pb, name):
    memory.servicer.seen.clear()
    outcome = await memory.call("Echo", pb.EchoRequest(parent=name, text="p"))
    if outcome.code == "OK":
        assert name in ("users/me", "users/u1")
        assert memory.servicer.seen[0].parent == "users/u1"
    else:
        assert outcome.verdict in {
            ("PERMISSION_DENIED", "RESOURCE_NOT_OWNED"),
            ("INVALID_ARGUMENT", "REQUEST_INVALID"),
        }
        assert memory.servicer.seen == []
