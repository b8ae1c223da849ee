"""h2load's figures count only where every call was answered."""

import shutil
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from bench.h2load import frame, load

pytestmark = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


@pytest.fixture
def target() -> Iterator[str]:
    """A gRPC server that echoes, and refuses from the third call on what says so."""
    calls = 0

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal calls
        calls += 1
        if request == b"refuse" or (request == b"sometimes" and calls > 3):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        return request

    server = grpc.server(futures.ThreadPoolExecutor(4))
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", {"Echo": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}/test.Echo/Echo"
    server.stop(0)


def test_answered_calls_are_timed(target: str) -> None:
    found = load(target, b"hello", {}, calls=50, connections=2, streams=2, core=None)
    assert found.answer_bytes == len(frame(b"hello")) == 10
    assert found.per_second > 0
    assert 0 < found.p50 <= found.p99


@pytest.mark.parametrize("request_body", [b"refuse", b"sometimes"])
def test_refused_calls_spoil_the_figure(target: str, request_body: bytes) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        load(target, request_body, {}, calls=50, connections=2, streams=2, core=None)
