"""Ports and folders."""

import pytest
import typer

from cli.commands.up import _workers
from cli.mesh.blueprint import _target
from cli.mesh.settings import DOMAINS, MAX_WORKERS, METRICS_OFFSET, MeshSettings


def test_ports_are_counted_from_the_first() -> None:
    settings = MeshSettings(service_port=50051)
    assert [settings.worker_port(domain) for domain in DOMAINS] == [50051, 50052, 50053, 50054]
    assert settings.worker_ports({"spotify": 3})["spotify"] == [50053, 50153, 50253]


def test_no_default_port_is_one_that_the_kernel_lends_out() -> None:
    settings = MeshSettings()
    workers = settings.worker_ports(dict.fromkeys(DOMAINS, MAX_WORKERS))
    assert max(port + METRICS_OFFSET for found in workers.values() for port in found) < 32_768


def test_no_two_programs_share_a_port() -> None:
    settings = MeshSettings()
    workers = settings.worker_ports(dict.fromkeys(DOMAINS, MAX_WORKERS))
    ports = [port + offset for found in workers.values() for port in found for offset in (0, METRICS_OFFSET)]
    ports += [settings.http_port, settings.https_port, settings.admin_port]
    ports += [settings.redis_port, settings.triton_port, settings.triton_metrics_port]
    assert len(ports) == len(set(ports))


def test_a_target_names_every_worker() -> None:
    assert _target([50051]) == "127.0.0.1:50051"
    assert _target([50051, 50151]) == "127.0.0.1:50051,127.0.0.1:50151"


def test_workers_are_read_from_the_command_line() -> None:
    assert _workers(["spotify=2", "ai=3"]) == {"spotify": 2, "ai": 3}


@pytest.mark.parametrize("given", ["spotify", "spotify=0", "spotify=x", "nobody=2", "spotify=10"])
def test_wrong_workers_are_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="DOMAIN=COUNT"):
        _workers([given])
