"""What the road needs from whoever hosts it. The runtime implements these; any server may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from interceptors.identity import Identity


class Authenticator(Protocol):
    """Turns a bearer token into an identity. Raises Fault CREDENTIAL_* / SESSION_REVOKED / POLICY_STALE."""

    def cached(self, token: str) -> Identity | None:
        """The identity of a token that was verified before and is still valid, without I/O. Raises as `verify` does
        when the token's session was revoked or the revocation state is stale."""

    async def verify(self, token: str) -> Identity:
        """Verify the token; may fetch keys."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An authorisation decision. `scope` is `own` or `tenant`; `rule` is the deciding policy line in words;
    `snapshot` names the policy snapshot (its digest) that decided."""

    allowed: bool
    scope: str
    rule: str
    snapshot: str


class Authorizer(Protocol):
    """Decides whether an identity holds a permission. Raises Fault POLICY_STALE."""

    def decide(self, identity: Identity, permission: str) -> Decision:
        """A lookup without I/O."""

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` on the event loop after each change of policy or revocation; returns the unsubscriber."""


class ConsentState(Enum):
    """What the ledger knows of one purpose."""

    GRANTED = "granted"
    REQUIRED = "required"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ConsentVerdict:
    """The state of one purpose for one subject, and the consent record (resource id) it rests on."""

    state: ConsentState
    record: str = ""


class ConsentLedger(Protocol):
    """Knows what each subject consented to. Raises Fault CONSENT_STALE."""

    def check(self, tenant: str, subject: str, purpose: int) -> ConsentVerdict:
        """A lookup without I/O; `purpose` is a polyphony.policy.v1.Purpose value."""

    def subscribe(self, changed: Callable[[str, str], None]) -> Callable[[], None]:
        """Call `changed(tenant, subject)` on the event loop after each change; returns the unsubscriber."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audit record, encoded (polyphony.compliance.v1.AuditRecord), for the tenant whose log it joins."""

    id: str
    tenant: str
    payload: bytes


class AuditSink(Protocol):
    """Makes audit records durable. Raises Fault AUDIT_UNAVAILABLE."""

    async def append(self, entry: AuditEntry) -> None:
        """Durable when it returns; concurrent calls share one commit."""

    async def open(self, entry: AuditEntry) -> None:
        """Store the record of a call that is still running, durably, as pending."""

    async def close(self, entry: AuditEntry) -> None:
        """Replace the pending record of `entry.id` by the final one (insert it where none is pending)."""

    def insert(self, transaction: Any, entry: AuditEntry, *, pending: bool) -> None:
        """Add the record to the transaction of the change it describes (runs on the transaction's thread)."""


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """What makes two calls the same call (AIP-155). `digest` is over the request's bytes; `retention` in seconds."""

    tenant: str
    actor: str
    method: str
    request_id: str
    digest: bytes
    retention: float


class Replayed(Exception):
    """Raised inside a transaction when the call was committed before; carries the stored response bytes."""

    def __init__(self, response: bytes) -> None:
        super().__init__("replayed")
        self.response = response


class IdempotencyStore(Protocol):
    """Remembers answers by request id. Raises Fault REQUEST_ID_REUSED."""

    def reserve(self, transaction: Any, key: ReplayKey) -> None:
        """Claim the key in the transaction; raises Replayed where it was completed before."""

    def complete(self, transaction: Any, key: ReplayKey, response: bytes) -> None:
        """Store the response in the same transaction as the change."""


class CommitParticipant(Protocol):
    """Adds rows to the one write of a call. Both run on the transaction's thread, inside the transaction."""

    def before(self, transaction: Any) -> None:
        """Before the change; may raise to refuse or to answer with a replay."""

    def after(self, transaction: Any, result: Any) -> None:
        """After the change and before the commit; `result` is what the use case returned."""


class RateLimiter(Protocol):
    """Admits calls. Raises Fault RATE_LIMITED or OVERLOADED with retry_after."""

    def admit(self, credential: str, peer: str, cost: int, priority: int) -> None:
        """Take `cost` from the caller's budget and one place among the calls in flight."""

    def release(self) -> None:
        """Give the place back."""
