"""Fills `envoy/envoy.yaml` and `envoy/cluster.yaml` with what the contracts and the mesh's settings say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli.edge.contract import DESCRIPTORS, EdgeMethod, edge_methods
from cli.edge.routes import routes

TEMPLATES = Path(__file__).resolve().parents[2] / "envoy"

REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "x-grpc-web",
    "x-user-agent",
    "connect-protocol-version",
    "polyphony-purpose",
    "traceparent",
    "tracestate",
)
"""What a page in a browser may send."""
RESPONSE_HEADERS = ("grpc-status", "grpc-message", "grpc-status-details-bin", "polyphony-audit-id")
"""What a page in a browser may read."""

JSON_FACTOR = 4
"""How much larger than its message a request may be in JSON: a float takes 4 bytes, in JSON up to 16 characters."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Where one Envoy listens, and what stands behind it."""

    http_port: int
    https_port: int
    admin_port: int
    certificate: Path
    certificate_key: Path
    access_log: Path
    endpoints: Mapping[str, Sequence[tuple[str, int]]]
    """Address and port of every worker, by domain. The first domain answers reflection."""
    address: str = "127.0.0.1"
    origins: Sequence[str] = (r"https?://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?",)
    """Regular expressions (RE2, whole string) of the web origins whose pages may call."""
    descriptors: Path = DESCRIPTORS


def render(edge: Edge) -> dict[str, Any]:
    """Envoy's bootstrap configuration. Raises `FileNotFoundError` when the contracts were not generated."""
    methods = [method for method in edge_methods(edge.descriptors) if method.domain in edge.endpoints]
    cluster = _template("cluster.yaml")
    config: dict[str, Any] = _fill(
        _template("envoy.yaml"),
        {
            "address": edge.address,
            "http_port": edge.http_port,
            "https_port": edge.https_port,
            "admin_port": edge.admin_port,
            "certificate": str(edge.certificate.resolve()),
            "certificate_key": str(edge.certificate_key.resolve()),
            "access_log": str(edge.access_log.resolve()),
            "descriptors": str(edge.descriptors.resolve()),
            "services": sorted({method.service for method in methods if method.has_json}),
            "json_request_bytes": JSON_FACTOR * max(method.max_request_bytes for method in methods),
            "counted_methods": {"services": _counted(methods)},
            "routes": routes(methods, list(edge.endpoints)),
            "origins": [{"safe_regex": {"regex": origin}} for origin in edge.origins],
            "request_headers": ", ".join(REQUEST_HEADERS),
            "response_headers": ", ".join(RESPONSE_HEADERS),
            "clusters": [
                _fill(cluster, {"domain": domain, "endpoints": [_endpoint(*worker) for worker in workers]})
                for domain, workers in edge.endpoints.items()
            ],
        },
    )
    return config


def _template(name: str) -> Any:
    return yaml.safe_load((TEMPLATES / name).read_text())


def _fill(node: Any, values: Mapping[str, Any]) -> Any:
    """Replace every string that is exactly `${name}` by its value, of whatever type.

    Raises `KeyError` for a name without a value: an edge that is only half described must not start.
    """
    if isinstance(node, dict):
        return {key: _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    if isinstance(node, str) and node.startswith("${") and node.endswith("}"):
        return values[node[2:-1]]
    return node


def _counted(methods: Sequence[EdgeMethod]) -> list[dict[str, Any]]:
    services: dict[str, list[str]] = {}
    for method in methods:
        services.setdefault(method.service, []).append(method.name)
    return [{"name": service, "method_names": names} for service, names in services.items()]


def _endpoint(address: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
