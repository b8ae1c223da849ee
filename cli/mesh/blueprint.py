"""Which programs make up the mesh, and how each is told where the others are."""

import sys
from collections.abc import Mapping
from pathlib import Path

from cli.edge.render import Edge
from cli.mesh import envoy, redis, triton
from cli.mesh.identity import certificates_in, make_certificates, make_keys
from cli.mesh.probes import envoy_sees
from cli.mesh.program import Port, Program
from cli.mesh.settings import CHECKOUT, DOMAINS, METRICS_OFFSET, MeshSettings

LOG_BYTES = 32 * 1024 * 1024
"""A log that is larger at a start is set aside: the mesh keeps at most this and what one run adds, per program."""
FOLDERS = ("keys", "certs", "data", "logs", "run", "triton", "redis", "envoy")


def prepare(settings: MeshSettings, workers: Mapping[str, int]) -> list[Program]:
    """Make folders, keys, certificates and configurations that are missing; return the programs to run.

    Harmless when done before, and while the mesh runs. Raises `MeshError` when something needed is not installed
    or not acceptable.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FOLDERS:
        (settings.home / name).mkdir(mode=0o700, exist_ok=True)
    _rotate(settings.logs)
    make_keys(settings.keys, DOMAINS)
    make_certificates(settings.home / "certs", settings.keys)
    triton_paths = triton.TritonPaths(
        environment=settings.triton_environment,
        state=settings.home / "triton",
        key_file=settings.keys / "triton.key",
    )
    triton.prepare(triton_paths)
    edge = edge_of(settings, workers)
    edge_config = settings.home / "envoy" / "envoy.yaml"
    envoy.write_config(edge, edge_config)
    return [
        redis.program(settings.redis_port, settings.home / "redis", settings.keys / "redis.password"),
        triton.program(triton_paths, settings.triton_port, settings.triton_metrics_port),
        *(
            _domain(settings, workers, domain, worker)
            for domain in DOMAINS
            for worker in range(workers.get(domain, 1))
        ),
        envoy.program(edge, edge_config),
    ]


def _rotate(logs: Path) -> None:
    """Set large logs aside at each start, over the ones that were set aside before."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))


def edge_of(settings: MeshSettings, workers: Mapping[str, int]) -> Edge:
    """The edge in front of the workers of this mesh."""
    certificates = certificates_in(settings.home / "certs", settings.keys)
    return Edge(
        http_port=settings.http_port,
        https_port=settings.https_port,
        admin_port=settings.admin_port,
        certificate=certificates.edge,
        certificate_key=certificates.edge_key,
        access_log=settings.logs / "access.log",
        endpoints={
            domain: [("127.0.0.1", port) for port in ports]
            for domain, ports in settings.worker_ports(workers).items()
        },
    )


def _domain(settings: MeshSettings, workers: Mapping[str, int], domain: str, worker: int) -> Program:
    port = settings.worker_port(domain, worker)
    ports = settings.worker_ports(workers)
    values = {
        "port": str(port),
        "metrics_port": str(port + METRICS_OFFSET),
        "worker": str(worker),
        "redis_url": f"redis://127.0.0.1:{settings.redis_port}/0",
        "redis_password_file": str(settings.keys / "redis.password"),
        "auth_endpoint": _target(ports["auth"]),
        "compliance_endpoint": _target(ports["compliance"]),
        **_only(settings, ports).get(domain, {}),
    }
    return Program(
        name=domain if worker == 0 else f"{domain}-{worker}",
        argv=(sys.executable, "-m", "services", domain),
        environment={
            "POLYPHONY_HOME": str(settings.home),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(CHECKOUT),
            **{f"POLYPHONY_{domain.upper()}_{name.upper()}": value for name, value in values.items()},
        },
        ports=(
            Port(port, f"{domain} gRPC", "POLYPHONY_SERVICE_PORT"),
            Port(port + METRICS_OFFSET, f"{domain} metrics", "POLYPHONY_SERVICE_PORT"),
        ),
        probe=envoy_sees(settings.admin_port, port),
    )


def _only(settings: MeshSettings, ports: Mapping[str, list[int]]) -> dict[str, dict[str, str]]:
    """What only one domain needs to know."""
    return {
        "ai": {
            "spotify_endpoint": _target(ports["spotify"]),
            "triton_endpoint": f"127.0.0.1:{settings.triton_port}",
            "triton_key_file": str(settings.keys / "triton.key"),
            "triton_models": str(settings.home / "triton" / "models"),
        },
        "compliance": {"checkpoint_key_file": str(settings.keys / "checkpoint.pem")},
    }


def _target(ports: list[int]) -> str:
    """The address of every worker; a channel turns to the next when one is gone."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return ",".join(addresses)
