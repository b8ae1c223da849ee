"""The echo service as a process of its own, bare or on the whole road: `python -m bench.echo_server MODE PORT FOLDER`.

Modes: `default` (grpc.aio as it comes), `tuned` (with the runtime's tuning), `road` (tuned, every step real).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

from services.runtime.tuning import tune


async def serve(mode: str, port: int, folder: Path) -> None:
    """Serve until SIGTERM."""
    import grpc

    from tests.fixtures.echo import echo_modules

    pb, pb_grpc = echo_modules()

    class Echo(pb_grpc.EchoServiceServicer):  # type: ignore[misc, name-defined]
        async def Echo(self, request: Any, _context: Any) -> Any:
            return pb.EchoResponse(text=request.text, parent=request.parent)

    interceptors = []
    if mode == "road":
        from bench.echo_road import road_interceptor

        interceptors.append(await road_interceptor(folder))
    server = grpc.aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_EchoServiceServicer_to_server(Echo(), server)
    if server.add_insecure_port(f"127.0.0.1:{port}") == 0:
        raise RuntimeError(f"port {port} is taken")
    await server.start()
    gc.collect()
    gc.freeze()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(0)


def main() -> None:
    """Run on core 0, alone."""
    mode, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    os.sched_setaffinity(0, {0})
    if mode != "default":
        tune()
    asyncio.run(serve(mode, port, folder))


if __name__ == "__main__":
    main()
