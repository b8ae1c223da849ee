"""Where the mesh of this machine lives and listens. Read from `POLYPHONY_*`; every default suits a laptop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.__main__ import DOMAINS as PACKAGES

CHECKOUT = Path(__file__).resolve().parents[2]
DOMAINS = tuple(PACKAGES)
"""Each runs as `python -m services <domain>`, on ports counted from the first one in this order."""
WORKER_STRIDE = 100
"""Between the ports of two workers of a domain."""
METRICS_OFFSET = 1000
"""From a worker's gRPC port to its Prometheus port."""
MAX_WORKERS = 9

_Port = Annotated[int, Field(ge=1, le=65535)]


class MeshSettings(BaseSettings):
    """Folders and ports. Everything listens on loopback."""

    model_config = SettingsConfigDict(env_prefix="POLYPHONY_", frozen=True, extra="ignore")

    home: Path = CHECKOUT / ".polyphony"
    """The state folder: keys, certificates, databases, logs. Mode 0700."""
    http_port: _Port = 8080
    https_port: _Port = 8443
    admin_port: _Port = 9901
    service_port: Annotated[int, Field(ge=1, le=63000)] = 15051
    """The gRPC port of the first worker of the first domain; the others follow.

    Not 50051, where a service listens that is started alone: Linux gives that range (from 32768) to outgoing
    connections, and one of the mesh's own, held for hours, would now and then keep a worker from starting.
    """
    redis_port: _Port = 16379
    triton_port: _Port = 18001
    triton_metrics_port: _Port = 18002
    triton_environment: Path = CHECKOUT / ".venv-triton"

    def worker_port(self, domain: str, worker: int = 0) -> int:
        """The gRPC port of a worker, counted from 0."""
        return self.service_port + DOMAINS.index(domain) + WORKER_STRIDE * worker

    def worker_ports(self, workers: Mapping[str, int]) -> dict[str, list[int]]:
        """The gRPC ports of all workers, by domain."""
        return {
            domain: [self.worker_port(domain, worker) for worker in range(workers.get(domain, 1))]
            for domain in DOMAINS
        }

    @property
    def keys(self) -> Path:
        """Everything secret."""
        return self.home / "keys"

    @property
    def logs(self) -> Path:
        """One file per program."""
        return self.home / "logs"

    @property
    def url(self) -> str:
        """Where callers reach the mesh."""
        return f"http://127.0.0.1:{self.http_port}"
