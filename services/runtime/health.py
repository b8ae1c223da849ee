"""grpc.health.v1 over the readiness of a service.

Own servicer instead of grpcio-health-checking's: there, the end of one Watch silences every other one of the service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.hosting import Check, call_check

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_LOG = logging.getLogger(__name__)


class Health:
    """Answers Check and Watch for `services` and for the whole process (the empty name).

    NOT_SERVING until `update` was told that every check holds, and for ever after `drain`.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._names = {"", *services}
        self._serving = False
        self._draining = False
        self._ended = False
        self._failing: frozenset[str] = frozenset()
        self._changed = asyncio.Condition()

    @property
    def serving(self) -> bool:
        """Whether the service takes calls now."""
        return self._serving and not self._draining

    async def update(self, checks: Mapping[str, Check]) -> None:
        """Ask every check and be SERVING when all of them hold; logs which ones stopped or began to hold."""
        outcomes = await asyncio.gather(*(call_check(check) for check in checks.values()))
        failing = frozenset(name for name, holds in zip(checks, outcomes, strict=True) if not holds)
        if failing != self._failing or (not self._serving and not failing):
            _LOG.info("readiness changed", extra={"fields": {"failing": sorted(failing)}})
        async with self._changed:
            self._failing, self._serving = failing, not failing
            self._changed.notify_all()

    async def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        async with self._changed:
            self._draining = True
            self._changed.notify_all()

    async def end_watches(self) -> None:
        """End every Watch, so that none of them holds up a graceful stop."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """The status now; NOT_FOUND for a service that is not served here."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this process does not serve that service")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and each time it changes."""
        last: int | None = None
        while not self._ended:
            status = self._status(request.service)
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            async with self._changed:
                if self._status(request.service) == last and not self._ended:
                    await self._changed.wait()

    def register(self, server: grpc.aio.Server) -> None:
        """Add this servicer to `server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        if service not in self._names:
            return _UNKNOWN
        return _SERVING if self.serving else _NOT_SERVING
