"""The Prometheus endpoint of a process: plain HTTP, `/metrics`, on loopback only."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Gauge, start_http_server

from services.runtime.hosting import ListenError

READY = Gauge("polyphony_service_ready", "1 while the service takes calls.", ["service", "worker"])
FEED_FRESH = Gauge("polyphony_feed_fresh", "1 while the feed's lease lasts.", ["service", "feed"])
FEED_VERSION = Gauge(
    "polyphony_feed_version", "The version that the service answers from.", ["service", "feed"]
)


def serve_metrics(port: int) -> Callable[[], None]:
    """Listen on 127.0.0.1:`port` (0: any) in a thread of its own. Returns what stops it; raises `ListenError`."""
    try:
        server, thread = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise ListenError(f"metrics cannot be served on 127.0.0.1:{port}: {error.strerror}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1.0)

    return stop
