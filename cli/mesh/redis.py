"""How Redis is started: append-only file on, loopback only, a password from a file that only its owner can read."""

import os
from pathlib import Path

from cli.mesh.probes import redis_ping
from cli.mesh.program import Port, Program
from cli.mesh.tools import find

# `always`: an event leaves its outbox once Redis has it, so Redis must have it on disk.
_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
dir {folder}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
tcp-keepalive 60
"""


def program(port: int, folder: Path, password_file: Path) -> Program:
    """Redis or Valkey with its data in `folder`. The password is in a 0600 configuration file, not in the arguments.

    Raises `MeshError` when neither is installed.
    """
    config = folder / "redis.conf"
    content = _CONFIG.format(port=port, password=password_file.read_text().strip(), folder=folder.resolve())
    with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    return Program(
        name="redis",
        argv=(find("redis-server", "valkey-server"), str(config)),
        ports=(Port(port, "Redis", "POLYPHONY_REDIS_PORT"),),
        probe=redis_ping(port, password_file),
        stage=0,
    )
