"""What the auth domain needs from outside, as Protocols that the adapters fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from services.auth.model.access_token import AccessTokenClaims
from services.auth.model.account import Tenant, User
from services.auth.model.login_delay import Attempts
from services.auth.model.session import EndReason, Session
from services.auth.model.signing_key import PublicJwk, SigningKey

R = TypeVar("R")


NOBODY = "-"
"""The tenant of what happens before anybody is logged in."""

ANYWHERE = "*"
"""No tenant: for finding out which tenant somebody belongs to."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is compared at log-in. Nothing in it needs to be unsealed, so that a known account takes no
    longer.
    """

    tenant: str
    user: str
    password_hash: str


class Accounts(Protocol):
    """Tenants and users, inside one transaction."""

    def found(self, tenant: Tenant, founder: User, address: bytes) -> User:
        """Stores a new tenant and its first user, who is found again by `address`. Raises Fault
        RESOURCE_EXISTS when the address has an account in any tenant.
        """

    def credentials(self, address: bytes) -> Credentials | None:
        """The credentials of the account with this address; in a transaction ANYWHERE."""

    def get(self, user: str) -> User | None:
        """The user of the transaction's tenant with this id."""

    def replace_password_hash(self, user: str, password_hash: str) -> None:
        """Stores the hash of the same password under new parameters."""


class Sessions(Protocol):
    """Refresh-token families of the transaction's tenant."""

    def add(self, session: Session) -> None:
        """Stores a new session."""

    def get(self, session: str) -> Session | None:
        """The session with this id, as it is stored now."""

    def advance(self, old: Session, new: Session) -> bool:
        """Writes `new` over `old` on the condition that `old` is still what is stored; says whether it was."""

    def end(self, session: str, why: EndReason, now: datetime) -> bool:
        """Ends a session that has not been ended; says whether there was one."""


class LoginAttempts(Protocol):
    """Attempts to log in by address, whether or not it has an account; in a transaction of NOBODY."""

    def get(self, address: bytes) -> Attempts | None:
        """The attempts since the last success."""

    def put(self, address: bytes, attempts: Attempts) -> None:
        """Stores them."""

    def clear(self, address: bytes) -> None:
        """Forgets them: the password was right."""


class Revocations(Protocol):
    """Sessions whose access tokens must be refused although they have not expired."""

    def add(self, session: str, forget_at: datetime) -> int:
        """Revokes the session until `forget_at`, when its last token has expired. Returns the version of the
        authorisation state that contains this."""


class Stores(Protocol):
    """What one transaction can reach."""

    @property
    def now(self) -> datetime:
        """The time of the transaction, UTC."""

    @property
    def accounts(self) -> Accounts:
        """Tenants and users."""

    @property
    def sessions(self) -> Sessions:
        """Refresh-token families."""

    @property
    def attempts(self) -> LoginAttempts:
        """Log-in attempts."""

    @property
    def revocations(self) -> Revocations:
        """Revoked sessions."""


class Storage(Protocol):
    """Runs work in one transaction, on a worker thread. Work must bear being run again from its start."""

    async def read(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` in the tenant on one snapshot."""

    async def write(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` as THE change of the running call in the tenant; its result is the call's answer. The
        audit record and the idempotency key commit with it.
        """

    async def note(self, work: Callable[[Stores], R], *, tenant: str) -> R:
        """Runs `work` as a change beside the call's own: it stands even if the call fails afterwards."""


class PasswordHasher(Protocol):
    """Slow, memory-hard password hashing, off the event loop."""

    async def hash(self, password: str) -> str:
        """The encoded hash of a new password. Raises Fault OVERLOADED when too many wait."""

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether the password is the one that was hashed; for an account that does not exist `encoded` is
        None, and the same work is done before the answer no. Raises Fault OVERLOADED when too many wait.
        """

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""


class AccessTokenSigner(Protocol):
    """Turns claims into a signed access token."""

    def sign(self, claims: AccessTokenClaims, key: SigningKey) -> str:
        """The compact JWS that a client sends as its bearer token."""


class SigningKeyStore(Protocol):
    """Where signing keys are kept. Every auth process of a mesh sees the same ones."""

    def load(self) -> Sequence[SigningKey]:
        """Every key there is, oldest first."""

    def ensure_first(self, now: datetime) -> None:
        """Makes the first key where there is none; of several processes one makes it."""

    def add(self, now: datetime) -> SigningKey:
        """Makes a further key."""

    def remove(self, key: SigningKey) -> None:
        """Forgets a key."""


class ServiceKeyDirectory(Protocol):
    """The public keys with which the services of the mesh prove who they are."""

    def load(self) -> Sequence[PublicJwk]:
        """Every service's key, with the id `service:<name>:<thumbprint>`."""


class AuthorizationFeed(Protocol):
    """Carries revocations to every service."""

    async def publish(self, version: int) -> None:
        """Returns when no service answers any more from a state older than `version`. Raises Fault
        DEPENDENCY_UNAVAILABLE when that is not so in time; the change stands all the same."""
