"""Who calls: the Authenticator port over auth's keys and the authorisation feed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from interceptors.faults import Fault
from interceptors.identity import Identity
from polyphony.errors.v1 import reason_pb2
from services.runtime.key_set import KeySet
from services.runtime.tokens import TokenTerms, identity_of, invalid, key_id


class RevocationState(Protocol):
    """What the authorisation feed says about sessions."""

    def check_session(self, session: str) -> None:
        """Raises Fault POLICY_STALE where the feed is stale, SESSION_REVOKED where the session is over."""


class TokenAuthenticator:
    """Verifies each token once and remembers it by the SHA-256 of its text until it expires.

    Revocation is checked on every call, also for remembered tokens. `capacity` bounds the memory; when it is full the
    token that was verified first is forgotten, which only costs verifying it again.
    """

    def __init__(
        self,
        keys: KeySet,
        revocations: RevocationState,
        terms: TokenTerms,
        *,
        capacity: int = 65_536,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._check_session = revocations.check_session
        self._terms = terms
        self._capacity = capacity
        self._clock = clock
        self._verified: dict[bytes, Identity] = {}
        keys.on_removal(self._verified.clear)

    def cached(self, token: str) -> Identity | None:
        """The identity of a token that was verified before, or None. Raises Fault as `verify` does."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        identity = self._verified.get(digest)
        if identity is None:
            return None
        if identity.expires <= self._clock():
            del self._verified[digest]
            raise Fault(reason_pb2.REASON_CREDENTIAL_EXPIRED)
        self._check_session(identity.session)
        return identity

    async def verify(self, token: str) -> Identity:
        """Verify a token and remember it. Raises Fault CREDENTIAL_INVALID, CREDENTIAL_EXPIRED, SESSION_REVOKED, or
        POLICY_STALE where it is not known whether its session was ended."""
        kid = key_id(token)
        key = await self._keys.key(kid)
        if key is None:
            if not self._keys.known:
                raise Fault(reason_pb2.REASON_POLICY_STALE, "The keys that verify tokens are not known yet.")
            raise invalid("was signed by a key that this mesh does not know")
        identity = identity_of(token, kid, key, self._terms)
        self._check_session(identity.session)
        if len(self._verified) >= self._capacity:
            del self._verified[next(iter(self._verified))]
        self._verified[hashlib.sha256(token.encode()).digest()] = identity
        return identity
