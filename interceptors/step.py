"""What a step of the road is: it wraps what lies behind it, once per method, when a server starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interceptors.call import Call
from interceptors.contract import Contract, MethodContract
from interceptors.ports import (
    AuditSink,
    Authenticator,
    Authorizer,
    ConsentLedger,
    IdempotencyStore,
    RateLimiter,
)

if TYPE_CHECKING:
    from interceptors.streams import OpenStreams

Endpoint = Callable[[Call], Awaitable[bytes | None]]
"""Answers a call: the response's bytes, or None where responses were streamed. Raises Fault."""


@dataclass(frozen=True, eq=False)
class Road:
    """What all steps of one server share.

    `service` names the process in audit records, such as `spotify-0`. `digest_key` keys the digests
    of values that audit records must not keep. `trace_ratio` is the share of calls without a parent
    that are traced. A port that is None takes its step off the road only where the contract has
    nothing for it to do; `interceptors.road` refuses the rest.
    """

    contract: Contract
    service: str
    authenticator: Authenticator | None
    authorizer: Authorizer | None
    consents: ConsentLedger | None
    audit: AuditSink | None
    idempotency: IdempotencyStore | None
    limiter: RateLimiter | None
    streams: OpenStreams
    digest_key: bytes
    trace_ratio: float


Step = Callable[[Road, MethodContract, Endpoint], Endpoint]
"""Wraps `onward` for one method; returns `onward` itself where the method gives the step nothing to do."""
