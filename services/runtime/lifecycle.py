"""Running services in a process: start, readiness, graceful stop.

A stop loses no call: health says NOT_SERVING, the balancer has time to notice while calls are still taken, open
streams are ended with a reason, then no new call is accepted and the running ones end within the grace.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Self

import grpc

from services.runtime.health import Health
from services.runtime.hosting import Service, build_server, call_hook, service_names
from services.runtime.metrics import READY, serve_metrics
from services.runtime.reflection import MeshReflection
from services.runtime.telemetry import install_tracing
from services.runtime.tuning import Tuning

_LOG = logging.getLogger(__name__)
_READINESS_SECONDS = 0.5
_BECOMING_READY_SECONDS = 0.05


class Host:
    """Runs `services` in this process, each on its own listener. `async with Host(...)` starts and stops them."""

    def __init__(self, services: Sequence[Service], *, tuning: Tuning | None = None) -> None:
        self._hosted = [_Hosted(service) for service in services]
        self._tuning = tuning
        self._stop_metrics: Callable[[], None] = lambda: None
        self._stop_tracing: Callable[[], None] = lambda: None
        self._signals = 0
        self._signalled = asyncio.Event()

    async def start(self) -> None:
        """Run start hooks, listen, start background tasks. Where one fails, what was started is stopped again."""
        try:
            first = self._hosted[0].service.settings
            self._stop_metrics = serve_metrics(first.metrics_port)
            self._stop_tracing = install_tracing(first)
            for hosted in self._hosted:
                await hosted.start()
                _LOG.info("listening", extra={"fields": hosted.describe(self._tuning)})
        except BaseException:
            await self.stop(hurried=True)
            raise
        gc.collect()
        gc.freeze()  # what start-up made lives as long as the process: never look at it again

    async def stop(self, *, hurried: bool = False) -> None:
        """Stop gracefully; `hurried` skips the wait for the balancer."""
        await asyncio.gather(*(hosted.drain(hurried=hurried) for hosted in self._hosted))
        for hosted in reversed(self._hosted):
            await hosted.close()
        await asyncio.to_thread(self._stop_tracing)  # waits for the collector
        self._stop_metrics()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a background task dies. Returns the exit status: 0 or 1.

        A second signal ends the calls that are still running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await self.start()
        deaths = {asyncio.ensure_future(hosted.death.wait()) for hosted in self._hosted}
        stopping = asyncio.ensure_future(self._signalled.wait())
        await asyncio.wait({stopping, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        died = not stopping.done()
        for waiter in (stopping, *deaths):
            waiter.cancel()
        _LOG.info("stopping", extra={"fields": {"cause": "a background task died" if died else "signal"}})
        await self.stop(hurried=died)
        return 1 if died else 0

    def _on_signal(self) -> None:
        self._signals += 1
        self._signalled.set()
        if self._signals > 1:
            for hosted in self._hosted:
                hosted.hurry()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _Hosted:
    """One service while it runs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.death = asyncio.Event()
        self._health = Health(service_names(service.servicers))
        self._server: grpc.aio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()

    async def start(self) -> None:
        for hook in self.service.start_hooks:
            await call_hook(hook)
        self._server = build_server(self.service, [self._health.register, MeshReflection().register])
        for name, run in self.service.tasks.items():
            self._tasks.append(
                asyncio.create_task(self._supervise(name, run), name=f"{self.service.name}:{name}")
            )
        await self._server.start()
        self._tasks.append(
            asyncio.create_task(self._watch_readiness(), name=f"{self.service.name}:readiness")
        )

    async def _supervise(self, name: str, run: Callable[[], object]) -> None:
        try:
            await run()  # type: ignore[misc]  # a coroutine function, see Service.background
            _LOG.error("background task %s of %s ended", name, self.service.name)
        except Exception:
            _LOG.exception("background task %s of %s died", name, self.service.name)
        self.death.set()

    async def _watch_readiness(self) -> None:
        gauge = READY.labels(self.service.name, self.service.settings.worker)
        while True:
            await self._health.update(self.service.checks)
            gauge.set(self._health.serving)
            serving = self._health.serving
            await asyncio.sleep(_READINESS_SECONDS if serving else _BECOMING_READY_SECONDS)

    async def drain(self, *, hurried: bool) -> None:
        await self._health.drain()
        if self._server is None:
            return
        if not hurried:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self.service.settings.drain_seconds)
        await self._health.end_watches()
        for hook in self.service.drain_hooks:
            await self._attempt(hook)
        await self._server.stop(self.service.settings.grace_seconds)

    def hurry(self) -> None:
        self._hurry.set()
        if self._server is not None:
            self._ending = asyncio.ensure_future(self._server.stop(0))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for hook in reversed(self.service.stop_hooks):
            await self._attempt(hook)

    async def _attempt(self, hook: Callable[[], object]) -> None:
        """Run a hook of the stop; a failing one must not keep the others from running."""
        try:
            await call_hook(hook)  # type: ignore[arg-type]
        except Exception:
            _LOG.exception("a stop hook of %s failed", self.service.name)

    def describe(self, tuning: Tuning | None) -> dict[str, object]:
        settings = self.service.settings
        return {
            "service": self.service.name,
            "worker": settings.worker,
            "address": f"{settings.host}:{self.service.port}",
            "tls": settings.tls_key_file is not None,
            "metrics_port": settings.metrics_port,
            "pid": os.getpid(),
            "tuning": asdict(tuning) if tuning else "off",
        }
