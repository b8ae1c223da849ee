"""Envoy's hop: what it adds to a call in time and spends of a core, for gRPC, gRPC-Web and JSON.

The call is WhoAmI with a token; without Envoy it goes to the auth service's own port. Everybody speaks HTTP/2.
"""

from __future__ import annotations

import json
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from bench.h2load import Load, fetch, frame, program
from bench.live_mesh import LiveMesh, live_mesh
from bench.processes import WorkMeter
from bench.report import Report, median
from bench.rounds import rounds
from cli.demo.account import Listener

CALLS = {1: 300, 32: 1_500}
"""Calls per round, by how many are made at once."""
ROUNDS = 5
CONNECTIONS = 4

DIRECT, GRPC, WEB, JSON = "gRPC, straight", "gRPC", "gRPC-Web", "JSON"

_PATH, _JSON_PATH = "/polyphony.auth.v1.AuthService/WhoAmI", "/v1/auth:whoAmI"
_WEB_TRAILERS = 0x80
"""The flag of the frame that carries the trailers of gRPC-Web in the body."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make the call."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """One round of one way: the load, and the microseconds of a core per call that Envoy and the service spent."""

    load: Load
    envoy: float
    service: float


Results = dict[int, dict[str, list[Hop]]]
"""By concurrency and by way."""


def run() -> None:
    """Measure and publish. Raises MissingTool."""
    program()
    results: Results = defaultdict(lambda: defaultdict(list))
    with live_mesh() as mesh, mesh.listener() as person:
        ways = _ways(mesh, person)
        _check(ways, person)
        envoy, service = (WorkMeter(mesh.pids()[name]) for name in ("envoy", "auth"))
        for round_ in rounds(ROUNDS + 1):
            for concurrency, calls in CALLS.items():
                for name, way in ways.items():
                    found = _hop(way, concurrency, calls, envoy, service)
                    if round_ == 1:
                        results[concurrency][name].clear()  # the first round was for warming up
                    results[concurrency][name].append(found)
    report(results).publish()


def report(results: Results) -> Report:
    """The report of the rounds."""
    done = len(next(iter(results.values()))[DIRECT])
    table = Report(
        "edge",
        "Envoy's hop in front of a service",
        f"AuthService/WhoAmI over HTTP/2 by h2load; medians of {done} interleaved rounds. Added is against the same"
        " call straight to the service; core is the time of a core that a call takes there.",
        [
            "way",
            "at once",
            "calls/s",
            "p50 ms",
            "added",
            "p99 ms",
            "added",
            "Envoy core µs",
            "service core µs",
        ],
    )
    for concurrency, ways in results.items():
        p50, p99 = (
            {name: median([getattr(hop.load, what) for hop in hops]) for name, hops in ways.items()}
            for what in ("p50", "p99")
        )
        for name, hops in ways.items():
            table.add(
                name,
                concurrency,
                f"{median([hop.load.per_second for hop in hops]):,.0f}",
                f"{p50[name]:.2f}",
                f"{p50[name] - p50[DIRECT]:+.2f}",
                f"{p99[name]:.2f}",
                f"{p99[name] - p99[DIRECT]:+.2f}",
                f"{median([hop.envoy for hop in hops]):,.0f}",
                f"{median([hop.service for hop in hops]):,.0f}",
            )
    return table


def _ways(mesh: LiveMesh, person: Listener) -> dict[str, Way]:
    token = dict(person.metadata)
    grpc = {**token, "content-type": "application/grpc", "te": "trailers"}
    web = {**token, "content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    empty = frame(b"")  # WhoAmI asks for nothing
    return {
        DIRECT: Way(f"http://{mesh.service('auth')}{_PATH}", grpc, empty),
        GRPC: Way(f"http://{mesh.edge}{_PATH}", grpc, empty),
        WEB: Way(f"http://{mesh.edge}{_PATH}", web, empty),
        JSON: Way(f"http://{mesh.edge}{_JSON_PATH}", token, b""),
    }


def _check(ways: Mapping[str, Way], person: Listener) -> None:
    """Every way through Envoy names the same person; h2load itself would not notice a polite refusal."""
    known = person.who().user
    answer = json.loads(_body(ways[JSON]))
    if answer["user"]["name"] != known.name:
        raise RuntimeError(f"JSON was answered with {answer}")
    message = _body(ways[WEB])
    size = 5 + int.from_bytes(message[1:5], "big")
    if known.name.encode() not in message[:size] or message[size] != _WEB_TRAILERS:
        raise RuntimeError(f"gRPC-Web was answered with {message!r}")


def _body(way: Way) -> bytes:
    request = urllib.request.Request(way.url, headers=dict(way.headers), data=way.body or None)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - always the mesh just started
        content: bytes = response.read()
    return content


def _hop(way: Way, concurrency: int, calls: int, envoy: WorkMeter, service: WorkMeter) -> Hop:
    connections = min(CONNECTIONS, concurrency)
    envoy.start()
    service.start()
    load = fetch(
        way.url,
        way.body,
        way.headers,
        calls=calls,
        connections=connections,
        streams=concurrency // connections,
        core=None,
    )
    return Hop(load, envoy.spent() / calls * 1e6, service.spent() / calls * 1e6)
