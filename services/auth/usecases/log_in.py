"""Exchange an e-mail address and a password for the tokens of a new session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from interceptors.faults import Fault
from interceptors.ids import new_id
from polyphony.errors.v1 import reason_pb2
from services.auth.model.account import User
from services.auth.model.address_index import AddressIndex
from services.auth.model.login_delay import DelayTerms, allowed_at, count_attempt
from services.auth.model.refresh_token import RefreshToken, RefreshTokenCodec
from services.auth.model.session import Session, SessionTerms
from services.auth.ports import ANYWHERE, NOBODY, Credentials, PasswordHasher, Storage, Stores
from services.auth.usecases.issue_tokens import TokenIssuer, Tokens

R = TypeVar("R")


class LogIn:
    """Every step up to the verdict is the same for an address with and without an account: count the
    attempt, look the address up, spend a password hash.
    """

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        addresses: AddressIndex,
        refresh_tokens: RefreshTokenCodec,
        issuer: TokenIssuer,
        *,
        sessions: SessionTerms,
        delays: DelayTerms,
    ) -> None:
        """Holds what it needs."""
        self._storage = storage
        self._hasher = hasher
        self._addresses = addresses
        self._refresh_tokens = refresh_tokens
        self._issuer = issuer
        self._sessions = sessions
        self._delays = delays

    async def __call__(self, *, email: str, password: str, answer: Callable[[Tokens, User], R]) -> R:
        """Begins a session and returns `answer(tokens, user)`, computed inside the transaction.

        Raises Fault LOGIN_FAILED for an unknown address and a wrong password alike, LOGIN_DELAYED with the
        time to wait after too many attempts at one address.
        """
        address = self._addresses.of(email)
        await self._storage.note(lambda stores: self._count(stores, address), tenant=NOBODY)
        found = await self._storage.read(lambda stores: stores.accounts.credentials(address), tenant=ANYWHERE)
        matches = await self._hasher.verify(password, found.password_hash if found else None)
        if found is None or not matches:
            raise _failed()
        outdated = self._hasher.is_outdated(found.password_hash)
        new_hash = await self._hasher.hash(password) if outdated else None
        known = found
        outcome = await self._storage.write(
            lambda stores: self._begin(stores, known, new_hash, answer), tenant=found.tenant
        )
        await self._storage.note(lambda stores: stores.attempts.clear(address), tenant=NOBODY)
        return outcome

    def _count(self, stores: Stores, address: bytes) -> None:
        attempts = stores.attempts.get(address)
        wait_until = allowed_at(attempts, stores.now)
        if wait_until is not None:
            raise Fault(
                reason_pb2.REASON_LOGIN_DELAYED, retry_after=(wait_until - stores.now).total_seconds()
            )
        stores.attempts.put(address, count_attempt(attempts, stores.now, self._delays))

    def _begin(
        self, stores: Stores, found: Credentials, new_hash: str | None, answer: Callable[[Tokens, User], R]
    ) -> R:
        user = stores.accounts.get(found.user)
        if user is None or user.password_hash != found.password_hash:
            # Deleted, or the password was changed, while this one was being verified.
            raise _failed()
        if new_hash is not None:
            stores.accounts.replace_password_hash(user.id, new_hash)
        now = stores.now
        token = RefreshToken(user.tenant, new_id(), 0)
        session = Session(
            id=token.family,
            tenant=user.tenant,
            user=user.id,
            generation=token.generation,
            token_hash=self._refresh_tokens.hash(token),
            authenticated_at=now,
            refreshed_at=now,
            expires_at=now + self._sessions.absolute,
        )
        stores.sessions.add(session)
        return answer(self._issuer.issue(user, session, token, now), user)


def _failed() -> Fault:
    return Fault(reason_pb2.REASON_LOGIN_FAILED)
