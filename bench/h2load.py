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

from bench.report import percentile


class MissingTool(Exception):
    """h2load is not installed."""


@dataclass(frozen=True)
class Load:
    """One run: calls per second, percentiles of the calls' time in milliseconds, and the mean size of an answer."""

    per_second: float
    p50: float
    p99: float
    answer_bytes: float


def program() -> str:
    """Where h2load is. Raises MissingTool."""
    found = shutil.which("h2load")
    if found is None:
        raise MissingTool("h2load is not installed (Debian: nghttp2-client; Homebrew: nghttp2)")
    return found


def load(
    target: str,
    body: bytes,
    metadata: Mapping[str, str],
    *,
    calls: int,
    connections: int = 4,
    streams: int = 8,
    core: int | None = 1,
) -> Load:
    """`calls` unary calls to `http://host:port/package.Service/Method`, `connections * streams` at a time.

    `core` is where h2load itself runs, None to let the system choose. Raises MissingTool, and RuntimeError when a call
    failed.
    """
    headers = {"content-type": "application/grpc", "te": "trailers", **metadata}
    return fetch(
        target,
        frame(body),
        headers,
        calls=calls,
        connections=connections,
        streams=streams,
        core=core,
    )


def frame(message: bytes) -> bytes:
    """A message as it travels in gRPC and in gRPC-Web."""
    return struct.pack(">BI", 0, len(message)) + message


def fetch(
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    calls: int,
    connections: int = 4,
    streams: int = 8,
    core: int | None = 1,
) -> Load:
    """As `load`, for any HTTP/2 request: a POST of `body`, or a GET where it is empty.

    h2load looks at the HTTP status, which a refused gRPC call has in common with one that succeeded; but the answer is
    of another size then. So one call is made before, and all must be answered as it was.
    """
    first = _run(target, body, headers, calls=1, connections=1, streams=1, core=core)
    found = _run(target, body, headers, calls=calls, connections=connections, streams=streams, core=core)
    if not first.answer_bytes or found.answer_bytes != first.answer_bytes:
        raise RuntimeError(
            f"calls were refused: the first answer had {first.answer_bytes:.0f} bytes, all {found.answer_bytes:.1f}"
        )
    return found


def _run(
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    calls: int,
    connections: int,
    streams: int,
    core: int | None,
) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        request, log = Path(folder, "request"), Path(folder, "log")
        command = [] if core is None else ["taskset", "-c", str(core)]
        command += [program(), "-n", str(calls), "-c", str(connections), "-m", str(streams)]
        command += [f"--log-file={log}"]
        if body:
            request.write_bytes(body)
            command += ["-d", str(request)]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        output = subprocess.run([*command, target], capture_output=True, text=True, check=True).stdout
        failed = re.search(r"(\d+) failed, (\d+) errored", output)
        if failed is None or failed.groups() != ("0", "0"):
            raise RuntimeError(f"calls failed under load:\n{output}")
        times = sorted(int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines())
        rate = re.search(r"([\d.]+) req/s", output)
        data = re.search(r"\((\d+)\) data", output)
        assert rate is not None
        assert data is not None
        return Load(float(rate[1]), percentile(times, 0.5), percentile(times, 0.99), int(data[1]) / calls)
