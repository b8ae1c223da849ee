"""One route per method, and 404 for everything else."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cli.edge.contract import EdgeMethod

UNPROCESSED = "connect-failure,refused-stream"
"""The call cannot have reached a handler: a second attempt is safe for every method."""
REPEATABLE = f"{UNPROCESSED},reset,unavailable,cancelled"
"""The call may have been carried out: a second attempt is safe where the contract says so. CANCELLED is what a
gRPC server says to the calls in flight when it is stopped at once; a caller that cancels gets no second attempt."""

LONGEST_DEADLINE = timedelta(seconds=300)
"""What a caller's own grpc-timeout may ask of the edge for a unary call."""
ANSWER_FIRST = timedelta(seconds=1)
"""What the edge waits beyond a method's deadline, so that the service answers, with a reason and an audit id."""
STREAM_IDLE = timedelta(hours=1)
"""A stream that carried nothing for so long is forgotten by its caller."""
UPLOAD_IDLE = timedelta(minutes=5)
"""An upload that stalls for so long has lost its sender; a service at work on a large part may take a while."""

_REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_HEALTH = "grpc.health.v1.Health"
_HEALTH_METHODS = ("Check", "Watch")
DOMAIN_HEADER = "polyphony-domain"
"""Says whose health is asked for, where a caller asks through the edge. Without it: the one that answers reflection."""


def routes(methods: Sequence[EdgeMethod], domains: Sequence[str]) -> list[dict[str, Any]]:
    """The routes of the virtual host, for the methods of `domains`."""
    return [
        *(_method_route(method) for method in methods if method.domain in domains),
        *(_health_route(method, domain) for domain in domains for method in _HEALTH_METHODS),
        *(_operators_route(f"{_HEALTH}/{method}", domains[0]) for method in _HEALTH_METHODS),
        *(_operators_route(f"{service}/ServerReflectionInfo", domains[0]) for service in _REFLECTION),
        {
            "match": {"prefix": "/"},
            "name": "unknown",
            "direct_response": {"status": 404, "body": {"inline_string": "no such method"}},
        },
    ]


def _method_route(method: EdgeMethod) -> dict[str, Any]:
    return {
        "match": {"path": method.path},
        "name": method.path[1:],
        "route": {"cluster": method.domain, "retry_policy": _retries(method), **_time(method)},
    }


def _time(method: EdgeMethod) -> dict[str, Any]:
    """Unary calls end; streams may last, but not in silence."""
    if method.client_streams or method.server_streams:
        idle = UPLOAD_IDLE if method.client_streams and not method.server_streams else STREAM_IDLE
        return {"timeout": "0s", "idle_timeout": _seconds(idle)}
    return {
        "timeout": "0s",
        "max_stream_duration": {
            "max_stream_duration": _seconds(method.deadline + ANSWER_FIRST),
            "grpc_timeout_header_max": _seconds(max(LONGEST_DEADLINE, method.deadline + ANSWER_FIRST)),
        },
    }


def _retries(method: EdgeMethod) -> dict[str, Any]:
    """A second and a third attempt at once, each at another worker where there is one."""
    repeatable = method.repeatable and not method.client_streams
    return {
        "retry_on": REPEATABLE if repeatable else UNPROCESSED,
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }


def _operators_route(name: str, cluster: str) -> dict[str, Any]:
    """Health and reflection, whose methods are no part of the contract and may all stream."""
    return {
        "match": {"path": f"/{name}"},
        "name": name,
        "route": {"cluster": cluster, "timeout": "0s", "idle_timeout": _seconds(STREAM_IDLE)},
    }


def _health_route(method: str, domain: str) -> dict[str, Any]:
    route = _operators_route(f"{_HEALTH}/{method}", domain)
    route["match"]["headers"] = [{"name": DOMAIN_HEADER, "string_match": {"exact": domain}}]
    return route


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g}s"
