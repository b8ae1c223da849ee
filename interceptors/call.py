"""A call as a value: everything the road knows about one call while it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

if TYPE_CHECKING:
    from interceptors.contract import MethodContract
    from interceptors.faults import Fault
    from interceptors.ports import CommitParticipant, ConsentVerdict, Decision

ANONYMOUS_TENANT = "-"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. `user` is a user id, or `service:<name>` for a service that acts for nobody.

    `actor` is the service that acts on the user's behalf (RFC 8693 `act.sub`), else empty.
    `purpose` limits the call to one purpose when the credential itself names it.
    `expires` is in seconds since the epoch.
    """

    credential: int
    tenant: str
    user: str
    session: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""
    purpose: str = ""
    expires: float = 0.0


ANONYMOUS = Identity(credential=1, tenant=ANONYMOUS_TENANT, user="")


@dataclass(slots=True, eq=False)
class Call:
    """One call on the road. Steps fill it in order; handlers read it through `current_call()`.

    `id` is the audit id. `received` is in nanoseconds since the epoch, `deadline` in seconds of
    the event loop's clock. `request` is the request message once it is decoded (for methods with
    one request). `participants` add their rows to the transaction of the call's write.
    """

    method: MethodContract
    metadata: Mapping[str, str]
    peer: str
    id: str
    received: int
    deadline: float | None = None
    trace_parent: str = ""
    identity: Identity = ANONYMOUS
    decision: Decision | None = None
    purpose: int = 0
    consent: ConsentVerdict | None = None
    subject: str = ""
    resource: str = ""
    request: Message | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    requests: int = 0
    responses: int = 0
    participants: list[CommitParticipant] = field(default_factory=list)
    committed: bool = False
    trailers: dict[str, str | bytes] = field(default_factory=dict)
    body: bytes | None = None
    incoming: Callable[[], Awaitable[bytes | None]] | None = None
    on_request: list[Callable[[Message], None]] = field(default_factory=list)
    outgoing: Callable[[bytes], Awaitable[None]] | None = None
    servicer_context: Any = None
    task: asyncio.Task[Any] | None = None
    ended_by: Fault | None = None

    def end(self, fault: Fault) -> None:
        """End an open call with a fault from outside its own task, such as a withdrawn consent."""
        if self.ended_by is None and self.task is not None and not self.task.done():
            self.ended_by = fault
            self.task.cancel()


_current: ContextVar[Call | None] = ContextVar("polyphony_call", default=None)


def current_call() -> Call | None:
    """The call that the running task answers, or None outside a call."""
    return _current.get()


def enter_call(call: Call) -> None:
    """Make `call` the current one for the running task (each call of grpc.aio has a task of its own)."""
    _current.set(call)
