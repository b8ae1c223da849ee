"""May they."""


async def test_a_denied_permission_is_named_with_the_rule(world, pb):
    world.ports.authorizer.allowed = False
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.verdict == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    assert outcome.info["permission"] == "echo.message.send"
    assert "listener" in outcome.info["rule"]
    assert world.record.step == "authorization"


async def test_the_deciding_rule_and_its_snapshot_are_on_record(world, pb):
    await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert world.record.rule == "p, listener, *, echo.message.send, own, allow"
    assert world.record.policy_snapshot == "5na9"


async def test_the_permission_asked_for_is_the_methods_own(world, pb):
    await world.call("Change", pb.EchoRequest(text="p"))
    assert world.ports.authorizer.asked == [("u1", "echo.message.change")]


async def test_a_public_method_asks_for_no_permission(world, pb):
    world.ports.authorizer.allowed = False
    assert (await world.call("Ping", pb.EchoRequest(text="p"))).verdict == ("OK", "")
