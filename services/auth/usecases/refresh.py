"""Exchange a refresh token for its successor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.auth.model.refresh_token import RefreshToken, RefreshTokenCodec
from services.auth.model.session import EndReason, SessionTerms, Verdict, advance, judge
from services.auth.ports import AuthorizationFeed, Storage, Stores
from services.auth.usecases.issue_tokens import TokenIssuer, Tokens

R = TypeVar("R")


class _Reused(Exception):
    """The token was used before, beyond the grace window. Undoes the transaction that found out."""


class Refresh:
    """Rotation in one conditional write: of any number of simultaneous refreshes one makes the successor
    and the rest are answered with the same one.
    """

    def __init__(
        self,
        storage: Storage,
        refresh_tokens: RefreshTokenCodec,
        issuer: TokenIssuer,
        feed: AuthorizationFeed,
        *,
        sessions: SessionTerms,
        token_lifetime: timedelta,
    ) -> None:
        """Holds what it needs. `token_lifetime` is how long an access token is accepted."""
        self._storage = storage
        self._refresh_tokens = refresh_tokens
        self._issuer = issuer
        self._feed = feed
        self._sessions = sessions
        self._token_lifetime = token_lifetime

    async def __call__(self, refresh_token: str, answer: Callable[[Tokens], R]) -> R:
        """Rotates and returns `answer(tokens)`, computed inside the transaction.

        Raises Fault REFRESH_TOKEN_INVALID, the same for a token that was never written, has expired, or was
        used before; in the last case the session is over in every service when this raises.
        """
        token = self._refresh_tokens.read(refresh_token)
        if token is None:
            raise _invalid()
        known = token
        try:
            return await self._storage.write(
                lambda stores: self._rotate(stores, known, answer), tenant=token.tenant
            )
        except _Reused:
            version = await self._storage.note(
                lambda stores: self._end_family(stores, known.family), tenant=token.tenant
            )
            if version is not None:
                await self._feed.publish(version)
            raise _invalid() from None

    def _rotate(self, stores: Stores, token: RefreshToken, answer: Callable[[Tokens], R]) -> R:
        successor = token.successor()
        while True:
            session = stores.sessions.get(token.family)
            if session is None:
                raise _invalid()
            verdict = judge(session, token.generation, stores.now, self._sessions)
            if verdict is Verdict.ENDED:
                raise _invalid()
            if verdict is Verdict.REUSE:
                raise _Reused
            if verdict is Verdict.ADVANCE:
                if session.token_hash != self._refresh_tokens.hash(token):
                    # The server key or the row is not the one that this family began with.
                    raise _invalid()
                after = advance(session, self._refresh_tokens.hash(successor), stores.now, self._sessions)
                if not stores.sessions.advance(session, after):
                    continue  # Somebody else rotated between the look and the write: judge again.
                session = after
            user = stores.accounts.get(session.user)
            if user is None:
                raise _invalid()
            return answer(self._issuer.issue(user, session, successor, stores.now))

    def _end_family(self, stores: Stores, family: str) -> int | None:
        if not stores.sessions.end(family, EndReason.TOKEN_REUSED, stores.now):
            return None
        return stores.revocations.add(family, stores.now + self._token_lifetime)


def _invalid() -> Fault:
    return Fault(reason_pb2.REASON_REFRESH_TOKEN_INVALID)
