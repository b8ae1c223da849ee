"""End the caller's session, everywhere, before answering."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from services.auth.model.session import EndReason
from services.auth.ports import AuthorizationFeed, Storage, Stores

R = TypeVar("R")


class LogOut:
    """Ends the session's refresh tokens in the database and its access tokens through the feed."""

    def __init__(self, storage: Storage, feed: AuthorizationFeed, *, token_lifetime: timedelta) -> None:
        """Holds what it needs. `token_lifetime` is how long an access token is accepted."""
        self._storage = storage
        self._feed = feed
        self._token_lifetime = token_lifetime

    async def __call__(self, *, tenant: str, session: str, answer: Callable[[], R]) -> R:
        """Returns `answer()` once no service accepts the session's tokens any more. Ending it twice is no
        error.

        Raises Fault DEPENDENCY_UNAVAILABLE when a service could not be told in time: the session is over,
        but one service may still let its access token in for as long as its lease lasts.
        """
        version = 0

        def end(stores: Stores) -> R:
            nonlocal version
            version = 0
            if stores.sessions.get(session) is not None:
                stores.sessions.end(session, EndReason.LOGGED_OUT, stores.now)
                # Also when it had been ended before: who repeats the call wants to know that it is over everywhere.
                version = stores.revocations.add(session, stores.now + self._token_lifetime)
            return answer()

        outcome = await self._storage.write(end, tenant=tenant)
        if version:
            await self._feed.publish(version)
        return outcome
