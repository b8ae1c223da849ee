"""`Service`: everything a domain's `wiring.build` hands over, and the gRPC server made of it.

A `Service` is a description. Nothing in it connects or listens until `lifecycle` runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from services.runtime.settings import ServiceSettings, read_secret

Hook = Callable[[], Awaitable[None] | None]
Check = Callable[[], Awaitable[bool] | bool]
Registration = tuple[Callable[[Any, Any], object], object]
"""A generated `add_<Name>Servicer_to_server` and the servicer it adds."""


class ListenError(RuntimeError):
    """The service cannot listen where its settings say; the text names the address and the likely cause."""


@dataclass(eq=False)
class Service:
    """One domain, ready to be run.

    `servicers` pairs each generated `add_..._to_server` with its servicer; `interceptors` is normally the one chain.
    `port` is the port bound, known once the service listens (it differs from the setting when that is 0).
    """

    name: str
    settings: ServiceSettings
    servicers: Sequence[Registration]
    interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    port: int = 0
    start_hooks: list[Hook] = field(default_factory=list)
    drain_hooks: list[Hook] = field(default_factory=list)
    stop_hooks: list[Hook] = field(default_factory=list)
    tasks: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    def on_start(self, hook: Hook) -> None:
        """Run `hook` before the service listens; hooks run in the order of registration."""
        self.start_hooks.append(hook)

    def on_drain(self, hook: Hook) -> None:
        """Run `hook` when new calls are about to be refused: the moment to end open streams."""
        self.drain_hooks.append(hook)

    def on_stop(self, hook: Hook) -> None:
        """Run `hook` after the last call ended; hooks run in the reverse order of registration."""
        self.stop_hooks.append(hook)

    def background(self, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run the coroutine function `task` while the service runs. It ends by cancellation only: a task that returns
        or raises takes the service out of the balance and the process down, so that a supervisor sees it."""
        self.tasks[name] = task

    def ready_when(self, name: str, check: Check) -> None:
        """Be SERVING only while `check` says True. It is asked twice a second; an exception is False."""
        self.checks[name] = check


def service_names(servicers: Sequence[Registration]) -> list[str]:
    """The full names of the gRPC services that `servicers` answer."""
    names = _Names()
    for add, servicer in servicers:
        add(servicer, names)
    return names.seen


class _Names:
    """Stands in for a server while generated code registers a servicer, to learn the service's name."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Old registration path; every generated file since grpcio 1.64 also uses the one below."""

    def add_registered_method_handlers(self, service: str, _handlers: object) -> None:
        """Called once by every generated `add_..._to_server`."""
        self.seen.append(service)


class _Registrar(Protocol):
    def __call__(self, server: grpc.aio.Server) -> None: ...


def build_server(service: Service, extras: Sequence[_Registrar] = ()) -> grpc.aio.Server:
    """A gRPC server with the service's servicers and `extras` (health, reflection), bound but not started.

    Sets `service.port`. Raises `ListenError` when the address cannot be bound.
    """
    settings = service.settings
    server = grpc.aio.server(
        interceptors=list(service.interceptors),
        options=[
            # Two processes on one port would share its calls silently.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # Channels and Envoy may probe an idle connection every ten seconds.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            # Every caller is ours or came through Envoy: cutting one off for its pings would only cost its calls.
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.max_metadata_size", 32 * 1024),
        ],
        # Shedding is the road's task, because it knows the priority of a call.
        maximum_concurrent_rpcs=None,
    )
    for add, servicer in service.servicers:
        add(servicer, server)
    for register in extras:
        register(server)
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.tls_key_file is None:
            service.port = server.add_insecure_port(address)
        else:
            service.port = server.add_secure_port(address, _server_credentials(settings))
    except RuntimeError:
        service.port = 0
    if service.port == 0:
        raise ListenError(
            f"{service.name} cannot listen on {address}: the port is taken or the address is not this machine's; "
            f"`ss -ltnp 'sport = :{settings.port}'` shows who has it, POLYPHONY_{service.name.upper()}_PORT changes it"
        )
    return server


def _server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials:
    key, certificate, authority = settings.tls_key_file, settings.tls_certificate_file, settings.tls_ca_file
    assert key, "only called with mutual TLS"
    assert certificate, "the settings accept all three or none"
    assert authority, "the settings accept all three or none"
    return grpc.ssl_server_credentials(
        [(read_secret(key), certificate.read_bytes())],
        root_certificates=authority.read_bytes(),
        require_client_auth=True,
    )


async def call_hook(hook: Hook) -> None:
    """Run a hook, whether it is a plain function or a coroutine function."""
    outcome = hook()
    if outcome is not None:
        await outcome


async def call_check(check: Check) -> bool:
    """The answer of a readiness check; False where it raises or does not answer within a second."""
    try:
        outcome = check()
        if isinstance(outcome, bool):
            return outcome
        return await asyncio.wait_for(outcome, 1.0)
    except Exception:
        return False
