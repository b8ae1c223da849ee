"""A call as a value: everything the road knows about one call while it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from interceptors.identity import ANONYMOUS, Identity

if TYPE_CHECKING:
    from interceptors.contract import MethodContract
    from interceptors.faults import Fault
    from interceptors.ports import CommitParticipant, ConsentVerdict, Decision

DEADLINE_TOLERANCE_SECONDS = 0.01
"""By how much a caller's own timer may precede ours: a cancellation this close to the deadline is the deadline's."""


@dataclass(slots=True, eq=False)
class Call:
    """One call on the road. Steps fill it in order; handlers read it through `current_call()`.

    `id` is the audit id, `parent` that of the call which made this one. `received` is in nanoseconds
    since the epoch, `deadline` in seconds of the event loop's clock. `body` is the one request of a
    unary method, `request` the same decoded. `step` names the step that the call has reached.
    `participants` add their rows to the transaction of the call's write; `committed` is true once
    that transaction was committed with them. `arrived` are checks on each request of a stream, and
    `rechecks` on its standing: per message, and when policy or consent changes. `opening` runs
    before a stream's handler does.
    """

    method: MethodContract
    metadata: Mapping[str, str]
    peer: str
    id: str
    received: int
    deadline: float | None = None
    parent: str = ""
    trace_id: str = ""
    trace_parent: str = ""
    identity: Identity = ANONYMOUS
    token: str = ""
    decision: Decision | None = None
    purpose: int = 0
    consent: ConsentVerdict | None = None
    subject: str = ""
    resource: str = ""
    body: bytes | None = None
    request: Message | None = None
    requests: int = 0
    responses: int = 0
    replayed: bool = False
    committed: bool = False
    step: str = ""
    trailers: dict[str, str | bytes] = field(default_factory=dict)
    participants: list[CommitParticipant] = field(default_factory=list)
    incoming: Callable[[], Awaitable[bytes | None]] | None = None
    outgoing: Callable[[bytes], Awaitable[None]] | None = None
    arrived: list[Callable[[Message], None]] = field(default_factory=list)
    rechecks: list[Callable[[], None]] = field(default_factory=list)
    opening: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    first: Message | None = None
    decode: Callable[[bytes], Message] | None = None
    task: asyncio.Task[Any] | None = None
    ended_by: Fault | None = None

    async def read(self) -> Message | None:
        """The next request message, decoded and checked; None when the caller has sent all."""
        if self.first is not None:
            message, self.first = self.first, None
            return message
        assert self.incoming is not None
        assert self.decode is not None
        body = await self.incoming()
        if body is None:
            return None
        self.recheck()
        message = self.decode(body)
        self.requests += 1
        for hook in self.arrived:
            hook(message)
        return message

    async def write(self, message: Message) -> None:
        """Send one response message of a stream."""
        assert self.outgoing is not None
        self.recheck()
        await self.outgoing(message.SerializeToString())
        self.responses += 1

    def attribute(self, tenant: str, user: str) -> None:
        """Name the person in whom a call without credential ended, such as a login that succeeded.

        The call's record then joins that tenant's log and shows in that person's trail.
        """
        self.identity = replace(self.identity, tenant=tenant, user=user)
        self.subject = user

    def recheck(self) -> None:
        """Raise Fault where what permitted the call at its opening permits it no longer."""
        for check in self.rechecks:
            check()

    def overdue(self) -> bool:
        """True at the deadline and after it. A caller gives up at its own clock's deadline, a moment before ours."""
        return self.deadline is not None and (
            asyncio.get_running_loop().time() >= self.deadline - DEADLINE_TOLERANCE_SECONDS
        )

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
