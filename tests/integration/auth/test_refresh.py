"""Refresh rotation under races, over SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from sqlalchemy import select

from interceptors.faults import Fault
from services.auth.adapters.tables import SessionRow
from services.auth.assembly import Assembly
from services.auth.model.session import EndReason
from services.auth.ports import Stores
from services.auth.settings import Settings
from services.auth.usecases.issue_tokens import Tokens
from services.runtime.persistence import SYSTEM, Database
from services.runtime.tokens import LEEWAY_SECONDS
from tests.integration.auth.conftest import running
from tests.integration.auth.test_accounts import log_in, refused, sign_up


async def refresh(assembly: Assembly, token: str) -> Tokens:
    return await assembly.verbs.refresh(token, lambda tokens: tokens)


async def begin(assembly: Assembly) -> Tokens:
    await sign_up(assembly)
    tokens, _ = await log_in(assembly)
    return tokens


async def rows(database: Database) -> list[SessionRow]:
    return list(await database.read(lambda tx: tx.session.scalars(select(SessionRow)).all(), tenant=SYSTEM))


async def age(database: Database, by: timedelta) -> None:
    """Moves every session's past further back, as if `by` had gone by."""

    def move(tx) -> None:  # type: ignore[no-untyped-def]
        for row in tx.session.scalars(select(SessionRow)):
            row.authenticate_time -= by
            row.refresh_time -= by
            row.expire_time -= by
            row.recent = [[generation, at - by // timedelta(microseconds=1)] for generation, at in row.recent]

    await database.write(move, tenant=SYSTEM)


async def test_a_hundred_refreshes_of_one_token_get_one_successor_and_no_log_out(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        answers = await asyncio.gather(*(refresh(assembly, first.refresh_token) for _ in range(100)))
        assert len({answer.refresh_token for answer in answers}) == 1
        assert {answer.session for answer in answers} == {first.session}
        (row,) = await rows(database)
        assert (row.generation, row.end_time) == (1, None)
        # Everyone can go on with what they got.
        assert (await refresh(assembly, answers[50].refresh_token)).session == first.session


async def test_a_late_retry_gets_the_same_successor_even_after_others_went_on(assembly: Assembly) -> None:
    first = await begin(assembly)
    second = await refresh(assembly, first.refresh_token)
    third = await refresh(assembly, second.refresh_token)
    assert (await refresh(assembly, first.refresh_token)).refresh_token == second.refresh_token
    assert (await refresh(assembly, second.refresh_token)).refresh_token == third.refresh_token


async def test_reuse_after_the_grace_window_ends_the_family_for_everyone(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        second = await refresh(assembly, first.refresh_token)
        await age(database, timedelta(seconds=31))
        before = await assembly.state.version()
        assert (await refused(refresh(assembly, first.refresh_token))).name == "REFRESH_TOKEN_INVALID"
        (row,) = await rows(database)
        assert row.end_reason == "token_reused"
        version, state = await assembly.state.snapshot()
        assert version == before + 1
        assert [revoked.session for revoked in state.revoked] == [first.session]
        for token in (first, second):
            assert (await refused(refresh(assembly, token.refresh_token))).name == "REFRESH_TOKEN_INVALID"
        assert await assembly.state.version() == version  # An ended family is not ended again.


async def test_a_hundred_reuses_at_once_end_it_once(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        await refresh(assembly, first.refresh_token)
        await age(database, timedelta(seconds=31))
        before = await assembly.state.version()
        faults = await asyncio.gather(*(refused(refresh(assembly, first.refresh_token)) for _ in range(100)))
        assert {fault.name for fault in faults} == {"REFRESH_TOKEN_INVALID"}
        assert await assembly.state.version() == before + 1


async def test_another_session_of_the_same_person_lives_on(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        other, _ = await log_in(assembly)
        await refresh(assembly, first.refresh_token)
        await age(database, timedelta(seconds=31))
        await refused(refresh(assembly, first.refresh_token))
        assert (await refresh(assembly, other.refresh_token)).session == other.session


@pytest.mark.parametrize("days", [30, 90])
async def test_an_idle_session_is_over(settings: Settings, days: int) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        await age(database, timedelta(days=days))
        assert (await refused(refresh(assembly, first.refresh_token))).name == "REFRESH_TOKEN_INVALID"
        assert await assembly.state.version() == 1  # Nobody stole anything.


async def test_an_active_session_ends_at_its_absolute_end_and_so_does_its_last_token(
    settings: Settings,
) -> None:
    async with running(settings) as (assembly, database):
        tokens = await begin(assembly)
        for _ in range(4):
            await age(database, timedelta(days=20))
            tokens = await refresh(assembly, tokens.refresh_token)
        await age(database, timedelta(days=10) - timedelta(minutes=5))
        tokens = await refresh(assembly, tokens.refresh_token)
        claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] <= 300
        await age(database, timedelta(minutes=5))
        await refused(refresh(assembly, tokens.refresh_token))


@pytest.mark.parametrize("token", ["", "plr_", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_token_nobody_wrote_is_refused(assembly: Assembly, token: str) -> None:
    assert (await refused(refresh(assembly, token))).name == "REFRESH_TOKEN_INVALID"


async def test_a_forged_token_ends_nobodys_session(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        first = await begin(assembly)
        forged = first.refresh_token[:-6] + "AAAAAA"
        assert isinstance(await refused(refresh(assembly, forged)), Fault)
        assert (await rows(database))[0].end_time is None


async def test_log_out_ends_both_tokens(settings: Settings) -> None:
    async with running(settings) as (assembly, _):
        ada = await sign_up(assembly)
        tokens, _ = await log_in(assembly)
        await assembly.verbs.log_out(tenant=ada.tenant, session=tokens.session, answer=lambda: None)
        assert (await refused(refresh(assembly, tokens.refresh_token))).name == "REFRESH_TOKEN_INVALID"
        _, state = await assembly.state.snapshot()
        assert [revoked.session for revoked in state.revoked] == [tokens.session]
        # A tenant cannot end another's session.
        other, _ = await log_in(assembly)
        before = await assembly.state.version()
        await assembly.verbs.log_out(tenant="somebody-else", session=other.session, answer=lambda: None)
        assert await assembly.state.version() == before
        assert (await refresh(assembly, other.refresh_token)).session == other.session


async def test_the_write_itself_refuses_a_stale_look(settings: Settings) -> None:
    """The condition that makes rotation safe, apart from any isolation level of a database."""
    async with running(settings) as (assembly, _):
        ada = await sign_up(assembly)
        tokens, _ = await log_in(assembly)

        def rotate_twice_from_one_look(stores: Stores) -> list[bool]:
            seen = stores.sessions.get(tokens.session)
            assert seen is not None
            first = replace(seen, generation=1, token_hash=b"one")
            other_hash = replace(seen, generation=0, token_hash=b"another")
            return [
                stores.sessions.advance(other_hash, first),
                stores.sessions.advance(seen, first),
                stores.sessions.advance(seen, replace(seen, generation=1, token_hash=b"two")),
                stores.sessions.end(tokens.session, EndReason.LOGGED_OUT, stores.now),
                stores.sessions.end(tokens.session, EndReason.TOKEN_REUSED, stores.now),
                stores.sessions.advance(first, replace(first, generation=2)),
            ]

        outcomes = await assembly.storage.write(rotate_twice_from_one_look, tenant=ada.tenant)
        assert outcomes == [False, True, False, True, False, False]


async def test_a_revocation_outlives_every_token_that_a_late_clock_still_accepts(settings: Settings) -> None:
    async with running(settings) as (assembly, _):
        ada = await sign_up(assembly)
        tokens, _ = await log_in(assembly)
        await assembly.verbs.log_out(tenant=ada.tenant, session=tokens.session, answer=lambda: None)
        (revoked,) = (await assembly.state.snapshot())[1].revoked
        expires = jwt.decode(tokens.access_token, options={"verify_signature": False})["exp"]
        assert revoked.forget_at.timestamp() >= expires + LEEWAY_SECONDS
