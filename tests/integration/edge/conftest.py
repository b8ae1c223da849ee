"""The real Envoy with the rendered configuration, in front of small gRPC servers that say who they are."""

import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cli.edge.render import Edge
from cli.mesh.child import Child
from cli.mesh.envoy import program, write_config
from cli.mesh.identity import make_certificates
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc


def free_port() -> int:
    """A TCP port on loopback that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Worker(auth_service_pb2_grpc.AuthServiceServicer):
    """An auth service that answers with its own name, and fails as it is told to."""

    name: str
    port: int
    calls: list[str] = field(default_factory=list)
    unavailable: bool = False
    entered: threading.Event = field(default_factory=threading.Event)
    proceed: threading.Event = field(default_factory=threading.Event)

    def WhoAmI(
        self, request: auth_service_pb2.WhoAmIRequest, context: grpc.ServicerContext
    ) -> auth_service_pb2.WhoAmIResponse:
        self.calls.append("WhoAmI")
        if "slow" in dict(context.invocation_metadata()).get("x-user-agent", ""):
            self.entered.set()
            self.proceed.wait(10)
        if self.unavailable:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        context.set_trailing_metadata((("polyphony-audit-id", f"record-of-{self.name}"),))
        return auth_service_pb2.WhoAmIResponse(session=self.name)

    def LogIn(
        self, request: auth_service_pb2.LogInRequest, context: grpc.ServicerContext
    ) -> auth_service_pb2.LogInResponse:
        self.calls.append("LogIn")
        if self.unavailable:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="WRONG_CREDENTIALS", domain="polyphony"))
        status = status_pb2.Status(code=code_pb2.UNAUTHENTICATED, message="no", details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        raise AssertionError("abort returned")

    def SignUp(
        self, request: auth_service_pb2.SignUpRequest, context: grpc.ServicerContext
    ) -> auth_service_pb2.SignUpResponse:
        self.calls.append("SignUp")
        response = auth_service_pb2.SignUpResponse()
        response.user.name = f"users/{len(request.display_name)}"
        return response


@dataclass
class Backend:
    """A worker together with the server that runs it."""

    worker: Worker
    server: grpc.Server
    health: health.HealthServicer

    def say(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        self.health.set("", status.SERVING if serving else status.NOT_SERVING)


def start_backend(name: str) -> Backend:
    port = free_port()
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    worker, checks = Worker(name, port), health.HealthServicer()
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(worker, server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return Backend(worker, server, checks)


@dataclass(frozen=True)
class RunningEdge:
    """The ports of a running Envoy and the workers behind it."""

    http_port: int
    https_port: int
    admin_port: int
    ca: Path
    access_log: Path
    first: Backend
    second: Backend


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[RunningEdge]:
    """Envoy before two workers of the auth domain, ready."""
    first, second = start_backend("first"), start_backend("second")
    certificates = make_certificates(tmp_path / "certs", tmp_path / "keys")
    described = Edge(
        http_port=free_port(),
        https_port=free_port(),
        admin_port=free_port(),
        certificate=certificates.edge,
        certificate_key=certificates.edge_key,
        access_log=tmp_path / "access.log",
        endpoints={"auth": [("127.0.0.1", first.worker.port), ("127.0.0.1", second.worker.port)]},
    )
    config = tmp_path / "envoy.yaml"
    write_config(described, config)
    child = Child(program(described, config), tmp_path / "envoy.log")
    try:
        child.wait_ready(20)
        yield RunningEdge(
            described.http_port,
            described.https_port,
            described.admin_port,
            certificates.ca,
            described.access_log,
            first,
            second,
        )
    finally:
        child.stop()
        first.server.stop(0)
        second.server.stop(0)
