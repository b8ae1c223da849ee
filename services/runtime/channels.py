"""Channels to other services of the mesh. What a call stands on travels with it.

A call made while another one is answered carries what is left of its deadline, its trace, its purpose, for whom it
acts, and its audit id as parent; it can never be made for another purpose, because the token itself names it. What the
callee refuses comes back as the same `Fault`. Methods that the contract declares idempotent are tried again by gRPC
itself when a worker dies; others never.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

from interceptors.call import Call, current_call
from interceptors.faults import Fault
from interceptors.purposes import PURPOSE_IDS
from interceptors.steps.context import PARENT_METADATA
from polyphony.errors.v1 import reason_pb2
from services.runtime.carrying import CarryingChannel, Passport
from services.runtime.service_identity import ITSELF, Behalf, ServiceIdentity
from services.runtime.settings import ServiceSettings, read_secret

_behalf: ContextVar[Behalf | None] = ContextVar("polyphony_behalf", default=None)
_IDEMPOTENT = {descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS, descriptor_pb2.MethodOptions.IDEMPOTENT}


@contextmanager
def on_behalf_of(tenant: str, user: str, purpose: int) -> Iterator[None]:
    """Make the calls of a background job for a person and a purpose (a polyphony.policy.v1.Purpose value).

    For jobs whose work a person asked for in an earlier call; the callee checks that person's consent as for any call.
    """
    token = _behalf.set(Behalf(tenant, user, PURPOSE_IDS[purpose]))
    try:
        yield
    finally:
        _behalf.reset(token)


class Channels:
    """The channels of one service. Made in a running event loop; close them when the service stops."""

    def __init__(self, settings: ServiceSettings, identity: ServiceIdentity) -> None:
        self._settings = settings
        self._identity = identity
        self._open: list[grpc.aio.Channel] = []

    def to(self, endpoint: str, *services: str) -> grpc.aio.Channel:
        """A channel for calls on behalf of whoever the running call is for. `endpoint` is `host:port`, or several with
        commas, which are balanced; `services` are the full names of the services that are called there.

        Its calls are awaited, or iterated where responses stream; they raise Fault, never a grpc error.
        """
        return self._channel(endpoint, services, self._of_the_running_call)

    def for_itself(self, endpoint: str, *services: str) -> grpc.aio.Channel:
        """A channel for calls that the service makes for nobody, such as following a feed."""
        passport = Passport({"authorization": ""}, None)
        return self._channel(endpoint, services, lambda: passport.bearing(self._identity.token(ITSELF)))

    async def close(self) -> None:
        """Close every channel."""
        await asyncio.gather(*(channel.close() for channel in self._open))

    def _channel(
        self, endpoint: str, services: Sequence[str], passport: Callable[[], Passport]
    ) -> grpc.aio.Channel:
        options = [
            ("grpc.service_config", json.dumps(service_config_json(services))),
            ("grpc.enable_retries", 1),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.max_receive_message_length", self._settings.max_message_bytes),
            ("grpc.max_send_message_length", self._settings.max_message_bytes),
        ]
        target = f"ipv4:{endpoint}" if "," in endpoint else endpoint
        if self._settings.tls_key_file is None:
            channel = grpc.aio.insecure_channel(target, options=options)
        else:
            channel = grpc.aio.secure_channel(target, self._credentials(), options=options)
        self._open.append(channel)
        return CarryingChannel(channel, endpoint, passport)

    def _credentials(self) -> grpc.ChannelCredentials:
        key, certificate, authority = (
            self._settings.tls_key_file,
            self._settings.tls_certificate_file,
            self._settings.tls_ca_file,
        )
        assert key, "only called with mutual TLS"
        assert certificate, "the settings accept all three or none"
        assert authority, "the settings accept all three or none"
        return grpc.ssl_channel_credentials(
            authority.read_bytes(), read_secret(key), certificate.read_bytes()
        )

    def _of_the_running_call(self) -> Passport:
        call = _running_call()
        if call is None:
            behalf = _behalf.get() or ITSELF
            return Passport({}, None).bearing(self._identity.token(behalf))
        purpose = PURPOSE_IDS.get(call.purpose, "")
        metadata = {PARENT_METADATA: call.id}
        if call.trace_parent:
            metadata["traceparent"] = call.trace_parent
        remaining = None
        if call.deadline is not None:
            remaining = call.deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                raise Fault(reason_pb2.REASON_DEADLINE_EXCEEDED)
        behalf = Behalf(call.identity.tenant, call.identity.user, purpose)
        return Passport(metadata, remaining).bearing(self._identity.token(behalf))


def _running_call() -> Call | None:
    """The call that is being answered here; None in a task that outlived the call which started it."""
    call = current_call()
    return None if call is None or (call.task is not None and call.task.done()) else call


def service_config_json(services: Sequence[str]) -> Mapping[str, Any]:
    """gRPC's service config: balance over all addresses, and try idempotent methods of `services` three times."""
    names = [
        {"service": name, "method": method.name}
        for name in services
        for method in descriptor_pool.Default().FindServiceByName(name).methods
        if method.GetOptions().idempotency_level in _IDEMPOTENT
    ]
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        config["methodConfig"] = [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    return config
