"""Puts the domain's parts together, without gRPC: what the service runs and what the tests exercise."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from interceptors.faults import Fault
from services.auth.adapters.argon2 import Argon2Hasher
from services.auth.adapters.authorization_state import SqlAuthorizationState
from services.auth.adapters.common_passwords import read_common_passwords
from services.auth.adapters.feed import FeedPublisher
from services.auth.adapters.jwt import JwtSigner
from services.auth.adapters.key_files import ServiceKeyFiles, SigningKeyFiles
from services.auth.adapters.policy_file import read_policy
from services.auth.adapters.server_key import read_or_make_server_key
from services.auth.adapters.sql import SqlStorage
from services.auth.model.address_index import AddressIndex
from services.auth.model.authorization import AuthorizationChange, AuthorizationState
from services.auth.model.login_delay import DelayTerms
from services.auth.model.password_policy import PasswordPolicy
from services.auth.model.refresh_token import RefreshTokenCodec
from services.auth.model.session import SessionTerms
from services.auth.model.signing_key import KeyTerms
from services.auth.servicer import AuthVerbs
from services.auth.settings import Settings
from services.auth.usecases.issue_tokens import TokenIssuer, TokenTerms
from services.auth.usecases.key_set import KeySet
from services.auth.usecases.log_in import LogIn
from services.auth.usecases.log_out import LogOut
from services.auth.usecases.refresh import Refresh
from services.auth.usecases.sign_up import SignUp
from services.auth.usecases.who_am_i import WhoAmI
from services.runtime.feeds import Feed
from services.runtime.feeds.board import SqlFeedBoard
from services.runtime.persistence import Database
from services.runtime.tokens import LEEWAY_SECONDS

UPKEEP_SECONDS = 60.0
"""How often old keys and rows are looked for: well within the lead of a new key."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a running auth domain."""

    settings: Settings
    state: SqlAuthorizationState
    feed: Feed[AuthorizationState, AuthorizationChange]
    storage: SqlStorage
    hasher: Argon2Hasher
    keys: KeySet
    verbs: AuthVerbs

    async def open(self) -> None:
        """Puts the policy in force and reads the keys; the database is open already."""
        await self.state.install(read_policy(self.settings.policy_model_file, self.settings.policy_file))
        self.keys.open(datetime.now(UTC))

    async def close(self) -> None:
        """Lets running hashes finish."""
        await self.hasher.close()

    async def upkeep(self) -> None:
        """Replaces old signing keys and removes what no decision needs any more, until cancelled."""
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                await asyncio.to_thread(self.keys.tend, datetime.now(UTC))
                await self.storage.sweep()
            except (Fault, OSError, ValueError) as error:
                _log.warning("upkeep is put off: %s", error)


def assemble(settings: Settings, database: Database) -> Assembly:
    """Builds the domain over a database that need not be open yet. Reads, or makes, the server key."""
    server_key = read_or_make_server_key(settings.server_key_file)
    refresh_tokens, addresses = RefreshTokenCodec(server_key), AddressIndex(server_key)
    lifetime = timedelta(seconds=settings.access_token_seconds)
    sessions = SessionTerms(
        idle=timedelta(days=settings.session_idle_days),
        absolute=timedelta(days=settings.session_absolute_days),
        grace=timedelta(seconds=settings.refresh_grace_seconds),
    )
    delays = DelayTerms(
        free=settings.login_free_attempts,
        first=timedelta(seconds=settings.login_first_delay_seconds),
        longest=timedelta(seconds=settings.login_longest_delay_seconds),
        forget_after=timedelta(days=settings.login_forget_days),
    )
    policy = PasswordPolicy(
        min_length=settings.password_min_length,
        max_length=settings.password_max_length,
        common=read_common_passwords(settings.common_passwords_file),
    )
    hasher = Argon2Hasher(
        memory_kib=settings.argon2_memory_kib,
        iterations=settings.argon2_iterations,
        lanes=settings.argon2_lanes,
        workers=settings.hash_workers,
        queue=settings.hash_queue,
    )
    keys = KeySet(
        SigningKeyFiles(settings.signing_keys_folder),
        ServiceKeyFiles(settings.service_keys_folder),
        KeyTerms(lead=timedelta(seconds=settings.signing_key_lead_seconds), lifetime=lifetime),
        rotate_after=timedelta(days=settings.signing_key_days),
    )
    terms = TokenTerms(settings.token_issuer, settings.token_audience, lifetime)
    issuer = TokenIssuer(terms, keys, JwtSigner(), refresh_tokens)
    state = SqlAuthorizationState(database)
    feed = Feed[AuthorizationState, AuthorizationChange](
        state, lease=settings.feed_lease_seconds, board=SqlFeedBoard(database, "authorization")
    )
    publisher = FeedPublisher(feed)
    storage = SqlStorage(database, attempts_kept=delays.forget_after)
    # A token is accepted for a moment longer than it is valid, and by a clock that may be late.
    believed = lifetime + 2 * timedelta(seconds=LEEWAY_SECONDS)
    verbs = AuthVerbs(
        sign_up=SignUp(storage, hasher, policy, addresses),
        log_in=LogIn(storage, hasher, addresses, refresh_tokens, issuer, sessions=sessions, delays=delays),
        refresh=Refresh(
            storage, refresh_tokens, issuer, publisher, sessions=sessions, token_lifetime=believed
        ),
        log_out=LogOut(storage, publisher, token_lifetime=believed),
        who_am_i=WhoAmI(storage),
        keys=keys,
    )
    return Assembly(settings, state, feed, storage, hasher, keys, verbs)
