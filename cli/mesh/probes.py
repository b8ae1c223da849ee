"""How programs are asked whether they do their work.

All of them are one exchange over plain sockets: the supervisor forks children all its life, and a gRPC channel's
threads do not survive a fork.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.mesh.program import Probe

TIMEOUT_SECONDS = 0.5


def http_get(port: int, path: str) -> tuple[int, bytes]:
    """GET `path` from loopback. Raises `OSError` or `http.client.HTTPException` when nobody answers properly."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def http_ok(port: int, path: str) -> Probe:
    """Ready when `path` answers 200."""

    def probe() -> str:
        try:
            status, _ = http_get(port, path)
        except (OSError, http.client.HTTPException) as error:
            return f"port {port} does not answer: {error}"
        return "" if status == 200 else f"port {port}{path} answers {status}"

    return probe


def redis_ping(port: int, password_file: Path) -> Probe:
    """Ready when Redis accepts the password and answers PING, which it does not while it loads its AOF."""

    def probe() -> str:
        password = password_file.read_text().strip()
        try:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(256)
                    if not received:
                        break
                    answer += received
        except OSError as error:
            return f"port {port} does not answer: {error}"
        return "" if answer == b"+OK\r\n+PONG\r\n" else answer.decode(errors="replace").strip()

    return probe


def envoy_endpoints(admin_port: int) -> Mapping[int, str]:
    """What Envoy's health checks say of each endpoint: port -> "" when healthy, else the reason.

    Envoy checks each worker with grpc.health.v1 (`envoy/envoy.yaml`); what it sees is what callers get.
    Raises `OSError`, `http.client.HTTPException` or `ValueError` when Envoy's admin port does not answer.
    """
    _, body = http_get(admin_port, "/clusters?format=json")
    health: dict[int, str] = {}
    for cluster in json.loads(body).get("cluster_statuses", []):
        for host in cluster.get("host_statuses", []):
            port = int(host["address"]["socket_address"]["port_value"])
            health[port] = _unhealthy(host.get("health_status", {}))
    return health


def envoy_sees(admin_port: int, port: int) -> Probe:
    """Ready when Envoy's health check of the endpoint on `port` passes."""

    def probe() -> str:
        try:
            return envoy_endpoints(admin_port).get(port, "not known to Envoy")
        except (OSError, http.client.HTTPException, ValueError):
            return "Envoy is not there to check its health"

    return probe


def _unhealthy(status: Mapping[str, Any]) -> str:
    if status.get("failed_active_health_check"):
        return "does not say SERVING to grpc.health.v1"
    if status.get("failed_outlier_check"):
        return "set aside by Envoy for failing calls"
    return "" if status.get("eds_health_status", "HEALTHY") == "HEALTHY" else str(status["eds_health_status"])
