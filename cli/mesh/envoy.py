"""How Envoy is started: with the configuration rendered from the contracts, checked by Envoy itself beforehand."""

import http.client
import subprocess
from pathlib import Path

import yaml

from cli.edge.render import Edge, render
from cli.mesh.probes import envoy_endpoints, http_ok
from cli.mesh.program import MeshError, Port, Probe, Program
from cli.mesh.tools import find

CONCURRENCY = 2
"""Envoy's worker threads. Each keeps its own connection to every worker of every domain."""


def write_config(edge: Edge, path: Path) -> None:
    """Render `edge` to `path`. Raises `MeshError` with Envoy's own words when Envoy would not start with it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    candidate = path.with_suffix(".new.yaml")
    candidate.write_text(as_yaml(edge))
    if not path.exists() or path.read_bytes() != candidate.read_bytes():
        command = [find("envoy"), "--mode", "validate", "--log-level", "error", "-c", str(candidate)]
        checked = subprocess.run(command, capture_output=True, text=True)
        if checked.returncode:
            lines = (checked.stderr or checked.stdout).strip().splitlines()
            raise MeshError(f"Envoy refuses its configuration {candidate}: {' '.join(lines[-2:])}")
    candidate.replace(path)


def as_yaml(edge: Edge) -> str:
    """The rendered configuration as text."""
    return str(yaml.dump(render(edge), sort_keys=False, Dumper=_PlainDumper))


def program(edge: Edge, config: Path) -> Program:
    """Envoy with the configuration at `config`, which describes `edge`. Ready when every worker behind it is."""
    workers = [port for addresses in edge.endpoints.values() for _, port in addresses]
    return Program(
        name="envoy",
        argv=(
            find("envoy"),
            "-c",
            str(config),
            "--concurrency",
            str(CONCURRENCY),
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--log-format",
            "%Y-%m-%dT%T.%e %l %n %v",
        ),
        ports=(
            Port(edge.http_port, "Envoy HTTP", "POLYPHONY_HTTP_PORT"),
            Port(edge.https_port, "Envoy HTTPS", "POLYPHONY_HTTPS_PORT"),
            Port(edge.admin_port, "Envoy admin", "POLYPHONY_ADMIN_PORT"),
        ),
        probe=_ready(edge.admin_port, workers),
        stop_seconds=5.0,
    )


def _ready(admin_port: int, workers: list[int]) -> Probe:
    """Envoy answers, and its own health checks of all workers pass."""
    answers = http_ok(admin_port, "/ready")

    def probe() -> str:
        if reason := answers():
            return reason
        try:
            seen = envoy_endpoints(admin_port)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"its admin port does not answer: {error}"
        waiting = [port for port in workers if seen.get(port, "unknown")]
        return f"waits for the workers on ports {', '.join(map(str, waiting))}" if waiting else ""

    return probe


class _PlainDumper(yaml.SafeDumper):
    """Writes repeated parts in full: Envoy's YAML is for people to read and needs no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True
