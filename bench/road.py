"""The whole road against a bare grpc.aio echo server: throughput and p99 of a small unary call.

One core for the server, the other for h2load; 32 calls at a time; rounds are interleaved.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.echo_road import access_token
from bench.h2load import Load, load, program
from bench.report import Report, median
from tests.fixtures.echo import echo_modules

MODES = ("default", "tuned", "road")
ROUNDS = 7
CALLS = 20_000


def run() -> None:
    """Measure and publish. Raises MissingTool."""
    program()
    pb, _ = echo_modules()
    body = pb.EchoRequest(parent="users/me", text="x" * 80).SerializeToString()
    metadata = {"authorization": f"Bearer {access_token()}"}
    results: dict[str, list[Load]] = {mode: [] for mode in MODES}
    with _server("default") as default, _server("tuned") as tuned, _server("road") as road:
        targets = {"default": default, "tuned": tuned, "road": road}
        for target in targets.values():
            load(target, body, metadata, calls=CALLS // 4)
        for _ in range(ROUNDS):
            for mode, target in targets.items():
                results[mode].append(load(target, body, metadata, calls=CALLS))
    rate = {mode: median([found.per_second for found in loads]) for mode, loads in results.items()}
    p99 = {mode: median([found.p99 for found in loads]) for mode, loads in results.items()}
    p50 = {mode: median([found.p50 for found in loads]) for mode, loads in results.items()}
    report = Report(
        "road",
        "The whole road against a bare grpc.aio server",
        f"Unary call of {len(body)} bytes, 32 at a time, one core for the server; medians of {ROUNDS} interleaved"
        f" rounds of {CALLS:,} calls by h2load.",
        ["server", "calls/s", "of tuned", "of default", "p50 ms", "p99 ms", "p99 of tuned"],
    )
    names = {
        "default": "bare, grpc.aio defaults",
        "tuned": "bare, tuned",
        "road": "whole road, tuned",
    }
    for mode in MODES:
        report.add(
            names[mode],
            f"{rate[mode]:,.0f}",
            f"{rate[mode] / rate['tuned']:.2f}",
            f"{rate[mode] / rate['default']:.2f}",
            f"{p50[mode]:.2f}",
            f"{p99[mode]:.2f}",
            f"{p99[mode] / p99['tuned']:.2f}",
        )
    report.notes.append("Goals: 0.90 of tuned, 1.45 of default, p99 1.5 of tuned.")
    report.publish()


@contextmanager
def _server(mode: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        process = subprocess.Popen([sys.executable, "-m", "bench.echo_server", mode, str(port), folder])
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}/echo.v1.EchoService/Echo"
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server does not listen")
