"""The order of the road, what it refuses to start without, and how little a foreign server needs."""

import itertools

import grpc
import pytest

from interceptors import Fault, build_road, chain
from interceptors import road as road_module
from interceptors.road import STEPS, MissingPort, build_endpoint
from polyphony.errors.v1 import reason_pb2
from tests.fixtures.callers import MemoryCaller
from tests.fixtures.ports import Ports
from tests.unit.interceptors.conftest import ECHO, Echo


def test_the_order_of_the_road_is_the_designs():
    assert [step.__name__ for step in STEPS] == [
        "telemetry",
        "context",
        "faults",
        "audit",
        "limits",
        "authentication",
        "authorization",
        "validation",
        "resource_binding",
        "consent",
        "idempotency",
    ]


HOSTILE = {
    "limits": ("CREDENTIAL_MISSING", "REQUEST_TOO_LARGE"),
    "authentication": ("PERMISSION_DENIED", "CREDENTIAL_MISSING"),
    "authorization": ("REQUEST_INVALID", "PERMISSION_DENIED"),
    "validation": ("RESOURCE_NOT_OWNED", "REQUEST_INVALID"),
    "resource_binding": ("CONSENT_REQUIRED", "RESOURCE_NOT_OWNED"),
}
"""For each step: what a call that is wrong in every respect from there on is told without it, and with it."""


def wrong_in_every_respect(pb, ports, allowed):
    """A request that every guard after the first `allowed` ones would refuse, and its metadata."""
    from interceptors.ports import ConsentState

    ports.consents.state = ConsentState.REQUIRED
    ports.authorizer.allowed = allowed >= 3
    request = pb.EchoRequest(
        parent="users/u2",
        text="x" * (70_000 if allowed < 1 else 10),
        count=-1 if allowed < 4 else 1,
    )
    return request, {"authorization": "Bearer good"} if allowed >= 2 else {}


@pytest.mark.parametrize("place", range(len(HOSTILE)))
async def test_each_guard_refuses_before_the_next_one(pb, place):
    ports = Ports()
    request, metadata = wrong_in_every_respect(pb, ports, place)
    caller = MemoryCaller(build_road([ECHO], **vars(ports)), Echo())
    outcome = await caller.call(f"/{ECHO}/Echo", request, metadata)
    assert outcome.reason == list(HOSTILE.values())[place][1]
    assert ports.audit.only.step == list(HOSTILE)[place]


@pytest.mark.parametrize(
    ("missing", "refusal", "prepare"),
    [
        ("limits", "REQUEST_TOO_LARGE", {"text": "x" * 70_000}),
        ("authentication", "CREDENTIAL_MISSING", {"metadata": {}}),
        ("authorization", "PERMISSION_DENIED", {"allowed": False}),
        ("resource_binding", "RESOURCE_NOT_OWNED", {"parent": "users/u2"}),
        ("consent", "CONSENT_REQUIRED", {"consented": False}),
    ],
)
@pytest.mark.parametrize("removed", [False, True])
async def test_only_its_own_step_refuses_a_call(pb, monkeypatch, missing, refusal, prepare, removed):
    """A guard is no guard if the call is refused without it: each is taken off the road and the call goes through."""
    from interceptors.ports import ConsentState

    if removed:
        kept = tuple(step for step in STEPS if step.__name__ != missing)
        monkeypatch.setattr(road_module, "STEPS", kept)
    ports = Ports()
    ports.authorizer.allowed = prepare.get("allowed", True)
    ports.consents.state = ConsentState.GRANTED if prepare.get("consented", True) else ConsentState.REQUIRED
    if removed and missing == "authentication":
        ports.authorizer.scope = "tenant"
    parent = prepare.get("parent", "users/u1")
    # Protovalidate would refuse the long text as well; only its size concerns the limits.
    request = (
        pb.EchoRequest(parent=parent, text=prepare["text"]).SerializeToString()
        if "text" in prepare
        else pb.EchoRequest(parent=parent, text="hi")
    )
    caller = MemoryCaller(build_road([ECHO], **vars(ports)), Echo())
    outcome = await caller.call(
        f"/{ECHO}/Echo", request, prepare.get("metadata", {"authorization": "Bearer good"})
    )
    assert (outcome.reason == refusal) is not removed


@pytest.mark.parametrize(
    ("port", "named"),
    [
        ("authenticator", "Echo"),
        ("authorizer", "Echo"),
        ("consents", "Echo"),
        ("audit", "Echo"),
        ("idempotency", "Change"),
    ],
)
def test_a_road_without_a_port_that_the_contract_needs_is_refused(pb, port, named):
    ports = vars(Ports()) | {port: None}
    with pytest.raises(MissingPort, match=rf"^{ECHO}/{named} needs a port that was not given: {port}$"):
        build_road([ECHO], **ports)


def test_a_limiter_is_the_hosts_choice(pb):
    assert build_road([ECHO], **(vars(Ports()) | {"limiter": None})).limiter is None


async def test_a_foreign_server_needs_one_line():
    """Any grpc.aio server, any servicer of the generated base class: the chain is all that is added."""
    servicer = Echo()
    server = grpc.aio.server(interceptors=[chain([ECHO], **vars(Ports()))])
    servicer.stubs.add_EchoServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = servicer.stubs.EchoServiceStub(channel)
        request = servicer.pb.EchoRequest(parent="users/me", text="hi")
        answer = await stub.Echo(request, metadata=(("authorization", "Bearer good"),))
        assert answer.parent == "users/u1"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Echo(request)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await server.stop(None)


async def test_a_method_that_the_contract_does_not_know_is_refused_not_served():
    """A servicer registered behind the chain's back answers nothing."""
    servicer = Echo()
    server = grpc.aio.server(interceptors=[chain(["grpc.health.v1.Health"])])
    servicer.stubs.add_EchoServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await servicer.stubs.EchoServiceStub(channel).Ping(servicer.pb.EchoRequest(text="p"))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert b"METHOD_UNKNOWN" in dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    await server.stop(None)


async def test_memory_refuses_an_unknown_method(memory):
    with pytest.raises(KeyError):
        await memory.call("Nothing", b"")
    with pytest.raises(Fault) as refused:
        await memory.caller._transport.unary("/echo.v1.EchoService/Nothing", b"")
    assert refused.value.reason == reason_pb2.REASON_METHOD_UNKNOWN


def test_a_step_with_nothing_to_do_is_left_out(pb):
    """Ping is public and owns nothing: authentication, authorisation, binding and idempotency are not on its road."""
    road = build_road([ECHO], **vars(Ports()))

    async def end(call):
        return None

    ping = road.contract[f"/{ECHO}/Ping"]
    left_out = {step.__name__ for step in STEPS if step(road, ping, end) is end}
    assert left_out == {"authentication", "authorization", "resource_binding", "idempotency"}


def test_a_plain_function_cannot_answer_a_stream(pb):
    road = build_road([ECHO], **vars(Ports()))
    with pytest.raises(TypeError, match="Repeat streams"):
        build_endpoint(road, road.contract[f"/{ECHO}/Repeat"], lambda request, context: None)


async def test_a_plain_function_answers_a_unary_call_off_the_loop(pb):
    import threading

    threads = []

    class Plain:
        def Ping(self, request, context):
            threads.append(threading.current_thread())
            return pb.EchoResponse(text=request.text)

    caller = MemoryCaller(build_road([ECHO], **vars(Ports())), Plain())
    assert (await caller.call(f"/{ECHO}/Ping", pb.EchoRequest(text="p"))).response.text == "p"
    assert threads[0] is not threading.main_thread()


def test_every_pair_of_steps_has_different_names():
    assert all(a.__name__ != b.__name__ for a, b in itertools.combinations(STEPS, 2))
