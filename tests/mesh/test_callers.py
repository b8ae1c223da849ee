"""Everyone who calls the mesh comes through the edge: grpcio, buf curl by reflection, JSON, and the command itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cli.client.faults import AUDIT_TRAILER, details, trailers
from cli.mesh.control import running
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from polyphony.spotify.v1 import user_data_service_pb2, user_data_service_pb2_grpc

BUF = shutil.which("buf", path=str(Path(sys.executable).parent))

REFUSED = grpc.StatusCode.FAILED_PRECONDITION
"""How the road answers someone who has not consented."""


def until_ready(mesh: Any) -> None:
    deadline = time.monotonic() + 40
    while not ((state := running(mesh.settings.home)) and state.phase == "ready"):
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


@pytest.fixture(scope="module")
def account(mesh: Any) -> Any:
    return mesh.account()


def command(mesh: Any, *arguments: str) -> "subprocess.CompletedProcess[str]":
    told = {
        f"POLYPHONY_{name.upper()}": str(value)
        for name, value in mesh.settings.model_dump(mode="json").items()
    }
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={**os.environ, **told, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def fetch(mesh: Any, path: str, *, token: str | None = None, body: Any = None) -> tuple[int, Any, Any]:
    request = urllib.request.Request(  # noqa: S310 - always this mesh
        f"{mesh.settings.url}{path}", data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def test_a_grpc_call_is_answered_and_recorded(mesh: Any, account: Any) -> None:
    with mesh.channel() as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        answer, call = stub.WhoAmI.with_call(
            auth_service_pb2.WhoAmIRequest(), metadata=account.metadata, timeout=10
        )
    assert answer.user.email == account.email
    assert trailers(call)[AUDIT_TRAILER]


def test_a_refusal_says_why_and_is_recorded(mesh: Any) -> None:
    with mesh.channel() as channel, pytest.raises(grpc.RpcError) as error:
        auth_service_pb2_grpc.AuthServiceStub(channel).WhoAmI(auth_service_pb2.WhoAmIRequest(), timeout=10)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    [info] = [detail for detail in details(error.value) if isinstance(detail, error_details_pb2.ErrorInfo)]
    assert info.reason == "CREDENTIAL_MISSING"
    assert trailers(error.value)[AUDIT_TRAILER]


def test_json_is_answered(mesh: Any, account: Any) -> None:
    status, answer, _ = fetch(mesh, "/v1/auth:whoAmI", token=account.token)
    assert (status, answer["user"]["name"]) == (200, account.name)


def test_json_is_refused_with_the_same_details(mesh: Any) -> None:
    status, answer, _ = fetch(mesh, "/v1/auth:whoAmI")
    assert (status, answer["code"]) == (401, 16)
    assert [detail["reason"] for detail in answer["details"] if "reason" in detail] == ["CREDENTIAL_MISSING"]


def test_json_that_breaks_a_rule_is_told_the_field(mesh: Any) -> None:
    status, answer, _ = fetch(
        mesh, "/v1/auth:signUp", body={"email": "nobody", "password": "long enough a password"}
    )
    assert (status, answer["code"]) == (400, 3)
    assert "email" in json.dumps(answer["details"])


def test_the_key_set_is_where_verifiers_look(mesh: Any) -> None:
    status, answer, _ = fetch(mesh, "/.well-known/jwks.json")
    assert status == 200
    assert {"service:auth", "service:spotify"} <= {key["kid"].rpartition(":")[0] for key in answer["keys"]}
    assert all(set(key) <= {"kty", "crv", "x", "kid", "use", "alg"} for key in answer["keys"]), (
        "public parts only"
    )


def test_reflection_knows_every_service(mesh: Any) -> None:
    asked = reflection_pb2.ServerReflectionRequest(list_services="*")
    with mesh.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        [answer] = stub.ServerReflectionInfo(iter([asked]), timeout=10)
    names = {service.name for service in answer.list_services_response.service}
    assert {"polyphony.auth.v1.AuthService", "polyphony.ai.v1.RecommendationService"} <= names


@pytest.mark.parametrize("domain", ["auth", "compliance", "spotify", "ai"])
def test_the_health_of_each_domain_can_be_asked(mesh: Any, domain: str) -> None:
    with mesh.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), metadata=(("polyphony-domain", domain),), timeout=10
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("protocol", ["grpc", "grpcweb"])
def test_buf_curl_by_reflection(mesh: Any, account: Any, protocol: str) -> None:
    assert BUF, "buf comes with make setup"
    called = subprocess.run(
        [
            *(BUF, "curl", "--http2-prior-knowledge", "--protocol", protocol, "--reflect"),
            *("--reflect-protocol", "grpc-v1", "--reflect-header", "x-reflect: 1"),
            *("--header", f"authorization: Bearer {account.token}", "--data", "{}"),
            f"{mesh.settings.url}/polyphony.auth.v1.AuthService/WhoAmI",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["user"]["name"] == account.name


def test_the_command_calls_and_names_the_record(mesh: Any) -> None:
    assert command(mesh, "up", "--plain").returncode == 0
    called = command(mesh, "call", "AuthService/WhoAmI")
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout)["user"]["email"] == "demo@polyphony.example"
    assert "audit record: " in called.stderr


def test_the_command_explains_a_refusal(mesh: Any) -> None:
    refused = command(mesh, "call", "--anonymous", "AuthService/WhoAmI")
    assert refused.returncode == 1
    assert refused.stderr.startswith("UNAUTHENTICATED: ")
    assert "reason: CREDENTIAL_MISSING (polyphony)" in refused.stderr
    assert "audit record: " in refused.stderr


def test_the_commands_token_opens_the_door(mesh: Any) -> None:
    assert command(mesh, "up", "--plain").returncode == 0
    token = command(mesh, "token").stdout.strip()
    assert fetch(mesh, "/v1/auth:whoAmI", token=token)[0] == 200


def test_killing_a_worker_under_load_loses_no_repeatable_call(mesh: Any, account: Any) -> None:
    """ListImports of someone who has consented to nothing is refused by the road itself: every answer but that
    refusal, and any call without an answer, is a loss."""
    state = running(mesh.settings.home)
    pid = next(
        program.process.pid for program in state.programs if program.name == "spotify-1" and program.process
    )
    with mesh.channel() as channel, ThreadPoolExecutor(16) as pool:
        stub = user_data_service_pb2_grpc.UserDataServiceStub(channel)
        request = user_data_service_pb2.ListImportsRequest(parent="users/me")

        def one(number: int) -> grpc.StatusCode:
            if number == 150:
                os.kill(pid, signal.SIGKILL)
            try:
                stub.ListImports(request, metadata=account.metadata, timeout=20)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        codes = set(pool.map(one, range(600)))
    assert codes == {REFUSED}


def test_draining_a_worker_under_load_loses_no_call(mesh: Any, account: Any) -> None:
    until_ready(mesh)
    drained = Event()
    codes: Counter[grpc.StatusCode] = Counter()
    with mesh.channel() as channel, ThreadPoolExecutor(9) as pool:
        stub = user_data_service_pb2_grpc.UserDataServiceStub(channel)
        request = user_data_service_pb2.ListImportsRequest(parent="users/me")

        def caller(_: int) -> None:
            while not drained.is_set():
                try:
                    stub.ListImports(request, metadata=account.metadata, timeout=20)
                except grpc.RpcError as error:
                    codes[error.code()] += 1
                time.sleep(0.02)  # within the rate that one person may call at

        callers = [pool.submit(caller, number) for number in range(6)]
        restarted = command(mesh, "restart", "spotify-1")
        drained.set()
        for done in callers:
            done.result()
    assert restarted.returncode == 0, restarted.stderr
    assert set(codes) == {REFUSED}, codes
    until_ready(mesh)
