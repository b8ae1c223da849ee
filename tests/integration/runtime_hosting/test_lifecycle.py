"""Services hosted on real listeners: readiness, reflection, draining, and the process around them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from services.runtime.hosting import ListenError, Service
from services.runtime.lifecycle import Host
from services.runtime.settings import ServiceSettings, service_config

ROOT = Path(__file__).parents[3]


class Settings(ServiceSettings):
    """Of a domain that exists in this test only."""

    model_config = service_config("echo")
    drain_seconds: float = 0.05
    grace_seconds: float = 5.0


class Echo:
    """Answers what it was sent, after `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.answered = 0

    async def echo(self, request: bytes, _context: Any) -> bytes:
        await asyncio.sleep(self.delay)
        self.answered += 1
        return request


def add_echo(servicer: Any, server: Any) -> None:
    """What generated code would do."""
    server.add_registered_method_handlers(
        "test.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(servicer.echo)}
    )


def service(echo: Echo, tmp_path: Path, **settings: Any) -> Service:
    return Service("echo", Settings(home=tmp_path, **settings), [(add_echo, echo)])


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process's or the network's
            await asyncio.sleep(0.01)


async def status(channel: grpc.aio.Channel, name: str = "") -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


async def test_calls_in_flight_outlive_a_stop_and_health_speaks_first(tmp_path: Path) -> None:
    echo = Echo(delay=0.4)
    hosted = service(echo, tmp_path, drain_seconds=0.3)
    order: list[str] = []
    hosted.on_start(lambda: order.append("first"))
    hosted.on_start(lambda: order.append("second"))
    hosted.on_stop(lambda: order.append(f"stopped after {echo.answered}"))
    hosted.on_drain(lambda: order.append("drained"))
    host = Host([hosted])
    await host.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hosted.port}") as channel:
        call = channel.unary_unary("/test.Echo/Echo")
        assert await call(b"1") == b"1"
        assert await status(channel, "test.Echo") == health_pb2.HealthCheckResponse.SERVING
        running = asyncio.ensure_future(call(b"2"))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(host.stop())
        await asyncio.sleep(0.05)
        assert await status(channel, "test.Echo") == health_pb2.HealthCheckResponse.NOT_SERVING
        late = asyncio.ensure_future(call(b"3"))  # the balancer has not noticed yet
        assert await running == b"2"
        assert await late == b"3"
        await stopping
    assert order == ["first", "second", "drained", "stopped after 3"]


async def test_readiness_follows_the_checks_and_every_watcher_hears_it(tmp_path: Path) -> None:
    hosted = service(Echo(), tmp_path)
    state = {"ok": False}

    def raises_at_first() -> bool:
        if not state["ok"]:
            raise ConnectionError
        return True

    hosted.ready_when("database", raises_at_first)
    async with Host([hosted]), grpc.aio.insecure_channel(f"127.0.0.1:{hosted.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        heard: list[list[int]] = [[], [], []]

        async def watch(index: int, name: str) -> None:
            async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=name)):
                heard[index].append(answer.status)

        tasks = [asyncio.create_task(watch(n, name)) for n, name in enumerate(["", "test.Echo", "test.None"])]
        await until(lambda: all(heard))
        tasks.append(extra := asyncio.create_task(watch(0, "")))
        await asyncio.sleep(0.1)
        extra.cancel()  # one watcher that leaves must not silence the others
        state["ok"] = True
        await until(lambda: heard[0][-1] == heard[1][-1] == health_pb2.HealthCheckResponse.SERVING)
        state["ok"] = False
        await until(lambda: heard[0][-1] == heard[1][-1] == health_pb2.HealthCheckResponse.NOT_SERVING)
        assert heard[2] == [health_pb2.HealthCheckResponse.SERVICE_UNKNOWN]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status(channel, "test.None")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        for task in tasks:
            task.cancel()


async def test_an_open_watch_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    hosted = service(Echo(), tmp_path)
    host = Host([hosted])
    await host.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hosted.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        first = await watch.read()
        assert first.status in (1, 2)
        async with asyncio.timeout(2.0):
            await host.stop()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_any_service_reflects_the_whole_mesh(tmp_path: Path, version: str) -> None:
    hosted = service(Echo(), tmp_path)
    async with Host([hosted]), grpc.aio.insecure_channel(f"127.0.0.1:{hosted.port}") as channel:
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

        async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            for symbol in (
                "polyphony.auth.v1.AuthService",
                "polyphony.compliance.v1.ConsentService.GrantConsent",
                f"grpc.reflection.{version}.ServerReflection",
                "polyphony.nothing.Here",
            ):
                yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)

        answers = [answer async for answer in ask(requests())]
    names = {each.name for each in answers[0].list_services_response.service}
    assert {
        "polyphony.auth.v1.AuthService",
        "polyphony.ai.v1.InferenceService",
        "grpc.health.v1.Health",
    } <= names
    assert f"grpc.reflection.{version}.ServerReflection" in names
    assert [answer.HasField("file_descriptor_response") for answer in answers[1:]] == [
        True,
        True,
        True,
        False,
    ]
    files = b"".join(answers[1].file_descriptor_response.file_descriptor_proto)
    assert b"polyphony/policy/v1/policy.proto" in files


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}.*POLYPHONY_ECHO_PORT"):
            await Host([service(Echo(), tmp_path, port=port, metrics_port=0)]).start()


async def test_a_dead_background_task_takes_the_process_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hosted = service(Echo(), tmp_path)

    async def relay() -> None:
        await asyncio.sleep(0.1)
        raise ValueError("secret of a person")

    hosted.background("relay", relay)
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(5):
            assert await Host([hosted]).run() == 1
    assert "background task relay of echo died" in caplog.text


DOMAIN = """
import asyncio
import grpc
from services.runtime.hosting import Service

def add(servicer, server):
    server.add_registered_method_handlers("test.Slow", {"Echo": grpc.unary_unary_rpc_method_handler(servicer)})

async def echo(request, context):
    await asyncio.sleep(float(request))
    return request

def build(settings):
    return Service("slow", settings, [(add, echo)])
"""


def test_a_process_starts_tuned_and_ends_on_sigterm_without_losing_a_call(tmp_path: Path) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wiring.py").write_text(DOMAIN)
    (package / "settings.py").write_text(
        "from services.runtime.settings import ServiceSettings, service_config\n"
        "class Settings(ServiceSettings):\n    model_config = service_config('slow')\n    drain_seconds: float = 0.2\n"
    )
    main = (
        "import services.__main__ as m, sys, types\n"
        "m.DOMAINS = types.MappingProxyType({'slow': 'slow'})\nsys.exit(m.main(['slow']))"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "POLYPHONY_HOME": str(tmp_path),
        "POLYPHONY_SLOW_METRICS_PORT": str(metrics),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", main], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr
        started = json.loads(process.stderr.readline())
        assert started["message"] == "listening", started
        assert started["tuning"]["scheduler"] == "batch"
        assert "event_engine_listener" in started["tuning"]["switched_off"] + started["tuning"]["unknown"]
        with grpc.insecure_channel(started["address"]) as channel:
            page = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
            assert "polyphony_service_ready" in page
            running = channel.unary_unary("/test.Slow/Echo").future(b"0.8")
            assert channel.unary_unary("/test.Slow/Echo")(b"0") == b"0"
            process.send_signal(signal.SIGTERM)
            assert running.result(timeout=5) == b"0.8"
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


START = """
import sys, types
import services.runtime.running as running, services.runtime.settings as settings
from services.runtime.keyring import Keyring
class Settings(settings.ServiceSettings):
    model_config = settings.service_config("auth")
    port: settings.Port = 50051
def build(settings):
    if sys.argv[1] == "defect":
        {}["the name of a person"]
    Keyring.from_file(settings.kek_file)
sys.modules["x.settings"] = types.SimpleNamespace(Settings=Settings)
sys.modules["x.wiring"] = types.SimpleNamespace(build=build)
sys.exit(running.run(["x"], settings.ProcessSettings(), None))
"""


@pytest.mark.parametrize(
    ("case", "environment", "said"),
    [
        ("open key", {}, ["POLYPHONY_AUTH_KEK_FILE", "chmod 600"]),
        ("no number", {"POLYPHONY_AUTH_PORT": "x"}, ["POLYPHONY_AUTH_PORT", "integer"]),
        ("no key", {"POLYPHONY_AUTH_KEK_FILE": "/nowhere/auth.kek"}, ["auth.kek", "No such file"]),
        ("defect", {"POLYPHONY_AUTH_KEK_FILE": "/nowhere/auth.kek"}, ["KeyError", "build"]),
    ],
)
def test_what_keeps_a_service_from_starting_is_explained_in_one_line(
    tmp_path: Path, case: str, environment: dict[str, str], said: list[str]
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "auth.kek").write_bytes(bytes(32))
    (keys / "auth.kek").chmod(0o644 if case == "open key" else 0o600)
    given = os.environ | {"PYTHONPATH": str(ROOT), "POLYPHONY_HOME": str(tmp_path)} | environment
    ended = subprocess.run(
        [sys.executable, "-c", START, case],
        env=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    line = ended.stderr.strip()
    assert json.loads(line)["message"].startswith("cannot start")
    assert [word for word in said if word not in line] == []
    assert "person" not in line
