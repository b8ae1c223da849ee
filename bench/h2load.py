"""Drives unary gRPC with h2load, so that no Python client stands in the way of what is measured."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class MissingTool(Exception):
    """h2load is not installed."""


@dataclass(frozen=True)
class Load:
    """One run: calls per second, and percentiles of the calls' time in milliseconds."""

    per_second: float
    p50: float
    p99: float


def load(
    target: str,
    body: bytes,
    metadata: Mapping[str, str],
    *,
    calls: int,
    connections: int = 4,
    streams: int = 8,
    core: int = 1,
) -> Load:
    """`calls` unary calls to `http://host:port/package.Service/Method`, `connections * streams` at a time."""
    program = shutil.which("h2load")
    if program is None:
        raise MissingTool("h2load is missing: install Debian's package nghttp2-client")
    with tempfile.TemporaryDirectory() as folder:
        request, log = Path(folder, "request"), Path(folder, "log")
        request.write_bytes(struct.pack(">BI", 0, len(body)) + body)
        headers = {"content-type": "application/grpc", "te": "trailers", **metadata}
        command = [
            "taskset",
            "-c",
            str(core),
            program,
            "-n",
            str(calls),
            "-c",
            str(connections),
            "-m",
            str(streams),
        ]
        command += ["-d", str(request), f"--log-file={log}"]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        output = subprocess.run([*command, target], capture_output=True, text=True, check=True).stdout
        failed = re.search(r"(\d+) failed, (\d+) errored", output)
        if failed is None or failed.groups() != ("0", "0"):
            raise RuntimeError(f"calls failed under load:\n{output}")
        times = sorted(int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines())
        rate = re.search(r"([\d.]+) req/s", output)
        assert rate is not None
        return Load(float(rate[1]), times[len(times) // 2], times[int(len(times) * 0.99)])
