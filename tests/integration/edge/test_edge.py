"""What the rendered edge lets through, refuses and repeats, with the real Envoy in front of real gRPC servers."""

import http.client
import json
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from cli.edge.contract import edge_methods
from cli.edge.render import Edge
from cli.mesh.envoy import write_config
from cli.mesh.identity import make_certificates
from cli.mesh.program import MeshError
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from polyphony.compliance.v1 import consent_service_pb2, consent_service_pb2_grpc


@pytest.fixture
def stub(edge: Any) -> Iterator[auth_service_pb2_grpc.AuthServiceStub]:
    with grpc.insecure_channel(f"127.0.0.1:{edge.http_port}") as channel:
        yield auth_service_pb2_grpc.AuthServiceStub(channel)


def request(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def test_grpc_is_balanced_over_the_workers(edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub) -> None:
    answered = {stub.WhoAmI(auth_service_pb2.WhoAmIRequest()).session for _ in range(40)}
    assert answered == {"first", "second"}


def test_trailers_arrive(stub: auth_service_pb2_grpc.AuthServiceStub) -> None:
    _, call = stub.WhoAmI.with_call(auth_service_pb2.WhoAmIRequest())
    assert dict(call.trailing_metadata())["polyphony-audit-id"].startswith("record-of-")


def test_grpc_over_tls_with_the_development_authority(edge: Any) -> None:
    credentials = grpc.ssl_channel_credentials(edge.ca.read_bytes())
    with grpc.secure_channel(f"localhost:{edge.https_port}", credentials) as channel:
        assert auth_service_pb2_grpc.AuthServiceStub(channel).WhoAmI(auth_service_pb2.WhoAmIRequest()).session


def test_http1_over_tls_too(edge: Any) -> None:
    context = ssl.create_default_context(cafile=str(edge.ca))
    connection = http.client.HTTPSConnection("localhost", edge.https_port, context=context, timeout=10)
    connection.request("GET", "/v1/auth:whoAmI")
    assert json.loads(connection.getresponse().read())["session"] in ("first", "second")


def test_json_is_transcoded_both_ways(edge: Any) -> None:
    body = json.dumps({"displayName": "x" * 100}).encode()
    response, content = request(
        edge.http_port, "POST", "/v1/auth:signUp", body, content_type="application/json"
    )
    assert (response.status, json.loads(content)["user"]["name"]) == (200, "users/100")


def test_a_json_body_larger_than_a_connection_buffer_passes(edge: Any) -> None:
    body = json.dumps({"displayName": "x" * 200_000}).encode()
    response, content = request(
        edge.http_port, "POST", "/v1/auth:signUp", body, content_type="application/json"
    )
    assert (response.status, json.loads(content)["user"]["name"]) == (200, "users/200000")


def test_json_errors_carry_their_details(edge: Any) -> None:
    response, content = request(
        edge.http_port, "POST", "/v1/auth:logIn", b'{"email":"a@b.c"}', content_type="application/json"
    )
    answer = json.loads(content)
    assert (response.status, answer["code"], answer["message"]) == (401, 16, "no")
    assert answer["details"][0]["reason"] == "WRONG_CREDENTIALS"


def test_json_refuses_what_the_contract_does_not_know(edge: Any) -> None:
    response, _ = request(edge.http_port, "GET", "/v1/auth:whoAmI?surprise=1")
    assert response.status == 400


def test_unknown_paths_are_not_found(edge: Any) -> None:
    for method, path in (
        ("GET", "/"),
        ("POST", "/polyphony.auth.v1.AuthService/Nope"),
        ("GET", "/v1/nothing"),
    ):
        response, content = request(edge.http_port, method, path, b"{}" if method == "POST" else None)
        assert response.status == 404, path
        assert json.loads(content) == {"code": 5, "message": "no such method"}


def test_unknown_methods_are_unimplemented_to_grpc(edge: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{edge.http_port}") as channel:
        unknown = channel.unary_unary("/polyphony.auth.v1.AuthService/Nope")
        with pytest.raises(grpc.RpcError) as error:
            unknown(b"")
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error.value.details() == "no such method"


def test_what_only_services_may_call_has_no_route(edge: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{edge.http_port}") as channel:
        feed = channel.stream_stream("/polyphony.auth.v1.AuthorizationFeedService/SyncAuthorization")
        with pytest.raises(grpc.RpcError) as error:
            list(feed(iter([b""])))
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_domain_that_is_not_there_has_no_route(edge: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{edge.http_port}") as channel:
        consents = consent_service_pb2_grpc.ConsentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            consents.ListPurposes(consent_service_pb2.ListPurposesRequest())
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_grpc_web_from_a_permitted_page(edge: Any) -> None:
    path, origin = "/polyphony.auth.v1.AuthService/WhoAmI", "http://localhost:5173"
    preflight, _ = request(
        edge.http_port,
        "OPTIONS",
        path,
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers="content-type,x-grpc-web,authorization",
    )
    assert preflight.getheader("access-control-allow-origin") == origin
    assert "authorization" in (preflight.getheader("access-control-allow-headers") or "")
    response, content = request(
        edge.http_port,
        "POST",
        path,
        struct.pack(">BI", 0, 0),
        origin=origin,
        content_type="application/grpc-web+proto",
        x_grpc_web="1",
    )
    length = struct.unpack(">BI", content[:5])[1]
    assert auth_service_pb2.WhoAmIResponse.FromString(content[5 : 5 + length]).session in ("first", "second")
    assert b"grpc-status:0" in content[5 + length :]
    assert "polyphony-audit-id" in (response.getheader("access-control-expose-headers") or "")


def test_a_page_from_elsewhere_gets_no_permission(edge: Any) -> None:
    preflight, _ = request(
        edge.http_port,
        "OPTIONS",
        "/v1/auth:whoAmI",
        origin="http://localhost.evil.example",
        access_control_request_method="GET",
    )
    assert preflight.getheader("access-control-allow-origin") is None


def test_ambiguous_headers_and_paths_are_refused(edge: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", edge.http_port, timeout=10)
    connection.request("GET", "/v1/auth:whoAmI", headers={"with_underscore": "1"})
    assert connection.getresponse().status == 400
    response, _ = request(edge.http_port, "GET", "/v1%2Fauth:whoAmI")
    assert response.status == 400


@pytest.mark.parametrize("method", ["WhoAmI", "LogIn"])
def test_a_failing_attempt_is_repeated_only_where_the_contract_allows_it(
    edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub, method: str
) -> None:
    edge.first.worker.unavailable = edge.second.worker.unavailable = True
    message = getattr(auth_service_pb2, f"{method}Request")()
    with pytest.raises(grpc.RpcError) as error:
        getattr(stub, method)(message)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    attempts = len(edge.first.worker.calls) + len(edge.second.worker.calls)
    assert attempts == (3 if method == "WhoAmI" else 1)


def test_a_caller_cannot_ask_the_edge_for_more_attempts(
    edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub
) -> None:
    edge.first.worker.unavailable = edge.second.worker.unavailable = True
    wishes = (("x-envoy-retry-grpc-on", "unavailable"), ("x-envoy-max-retries", "9"))
    with pytest.raises(grpc.RpcError):
        stub.LogIn(auth_service_pb2.LogInRequest(), metadata=wishes)
    assert len(edge.first.worker.calls) + len(edge.second.worker.calls) == 1


def test_killing_a_worker_loses_no_repeatable_call(
    edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub
) -> None:
    def one(_: int) -> str:
        return str(stub.WhoAmI(auth_service_pb2.WhoAmIRequest(), timeout=10).session)

    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(one, range(600))
        first = [next(answers) for _ in range(100)]
        edge.first.server.stop(0)
        rest = list(answers)
    assert {"first", "second"} == set(first)
    assert len(rest) == 500
    assert "second" in rest


def test_a_worker_that_stopped_serving_gets_no_calls(
    edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub
) -> None:
    edge.first.say(serving=False)
    time.sleep(1.5)
    assert {stub.WhoAmI(auth_service_pb2.WhoAmIRequest()).session for _ in range(20)} == {"second"}


def test_calls_are_counted_by_method(edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub) -> None:
    for _ in range(3):
        stub.WhoAmI(auth_service_pb2.WhoAmIRequest())
    _, content = request(edge.admin_port, "GET", "/stats?filter=AuthService.WhoAmI")
    assert "cluster.auth.grpc.polyphony.auth.v1.AuthService.WhoAmI.success: 3" in content.decode()


def test_admin_changes_nothing(edge: Any) -> None:
    response, _ = request(edge.admin_port, "POST", "/quitquitquit")
    assert response.status == 403


def test_the_access_log_names_the_method_and_no_person(
    edge: Any, stub: auth_service_pb2_grpc.AuthServiceStub
) -> None:
    request(edge.http_port, "GET", "/v1/auth:whoAmI", user_agent="a person's browser")
    request(edge.http_port, "GET", "/v1/auth:whoAmI?seed_uris=a-persons-track")
    request(edge.http_port, "GET", "/v1/users/a-persons-name/recommendation?seed_uris=a-persons-track")
    deadline = time.monotonic() + 15
    while edge.access_log.read_text().count("\n") < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = [json.loads(line) for line in edge.access_log.read_text().splitlines()]
    assert [line["method"] for line in lines] == [
        "polyphony.auth.v1.AuthService/WhoAmI",
        "unknown",
        "unknown",
    ]
    assert lines[0]["audit"].startswith("record-of-")
    assert "person" not in str(lines)


def test_details_survive_the_road_for_grpc(stub: auth_service_pb2_grpc.AuthServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.LogIn(auth_service_pb2.LogInRequest(email="a@b.c"))
    trailers = dict(error.value.trailing_metadata())
    assert (
        error_details_pb2.ErrorInfo(reason="WRONG_CREDENTIALS").reason.encode()
        in trailers["grpc-status-details-bin"]
    )


def test_envoy_accepts_the_edge_of_the_whole_contract(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certs", tmp_path / "keys")
    write_config(
        Edge(
            http_port=8080,
            https_port=8443,
            admin_port=9901,
            certificate=certificates.edge,
            certificate_key=certificates.edge_key,
            access_log=tmp_path / "access.log",
            endpoints={
                domain: [("127.0.0.1", 50000)] for domain in {method.domain for method in edge_methods()}
            },
        ),
        tmp_path / "envoy.yaml",
    )
    assert "polyphony.spotify.v1.UserDataService" in (tmp_path / "envoy.yaml").read_text()


def test_a_configuration_that_envoy_refuses_is_explained_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    edge = Edge(8080, 8443, 9901, missing, missing, tmp_path / "access.log", {"auth": [("127.0.0.1", 50051)]})
    with pytest.raises(MeshError, match=r"missing\.pem") as error:
        write_config(edge, tmp_path / "envoy.yaml")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "envoy.yaml").exists()
