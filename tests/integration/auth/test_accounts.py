"""Sign-up and log-in over SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace

import jwt
import pytest

from interceptors.faults import Fault
from services.auth.assembly import Assembly, assemble
from services.auth.model.account import User
from services.auth.settings import Settings
from services.auth.usecases.issue_tokens import Tokens
from tests.integration.auth.conftest import running

PASSWORD = "purple llama sings at noon"


async def sign_up(assembly: Assembly, email: str = "ada@example.org", password: str = PASSWORD) -> User:
    return await assembly.verbs.sign_up(
        email=email, password=password, display_name="", tenant_display_name="", answer=lambda user: user
    )


async def log_in(
    assembly: Assembly, email: str = "ada@example.org", password: str = PASSWORD
) -> tuple[Tokens, User]:
    return await assembly.verbs.log_in(
        email=email, password=password, answer=lambda tokens, user: (tokens, user)
    )


async def refused(awaitable: object) -> Fault:
    with pytest.raises(Fault) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value


async def test_who_signs_up_owns_a_new_tenant_and_listens_in_it(assembly: Assembly) -> None:
    ada, bob = await sign_up(assembly), await sign_up(assembly, "bob@example.org")
    assert ada.roles == ("owner", "listener")
    assert ada.tenant != bob.tenant
    assert (ada.email, ada.display_name) == ("ada@example.org", "ada")
    assert ada.etag
    assert await assembly.verbs.who_am_i(tenant=ada.tenant, user=ada.id) == ada
    assert (
        await refused(assembly.verbs.who_am_i(tenant=bob.tenant, user=ada.id))
    ).name == "RESOURCE_NOT_FOUND"


async def test_an_address_has_one_account_in_the_whole_mesh(assembly: Assembly) -> None:
    await sign_up(assembly)
    fault = await refused(sign_up(assembly, "ADA@Example.ORG"))
    assert fault.name == "RESOURCE_EXISTS"
    assert "ada" not in f"{fault} {fault.metadata} {fault.__cause__}".lower()


async def test_twenty_sign_ups_of_one_address_at_once_make_one_account(assembly: Assembly) -> None:
    outcomes = await asyncio.gather(*(sign_up(assembly) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert {o.name for o in outcomes if isinstance(o, Fault)} == {"RESOURCE_EXISTS"}


async def test_a_weak_password_is_refused_by_field(assembly: Assembly) -> None:
    fault = await refused(sign_up(assembly, password="password123456"))
    assert (fault.name, fault.fields[0].path) == ("PASSWORD_TOO_WEAK", "password")
    assert (await refused(log_in(assembly))).name == "LOGIN_FAILED"


async def test_a_log_in_begins_a_session_of_its_own(assembly: Assembly) -> None:
    ada = await sign_up(assembly)
    (first, user), (second, _) = await log_in(assembly, "Ada@example.org"), await log_in(assembly)
    assert user == ada
    assert first.session != second.session
    claims = jwt.decode(first.access_token, options={"verify_signature": False})
    assert (claims["sub"], claims["tenant"], claims["sid"]) == (ada.id, ada.tenant, first.session)
    assert claims["roles"] == ["owner", "listener"]


async def test_unknown_address_and_wrong_password_answer_alike(assembly: Assembly) -> None:
    await sign_up(assembly)
    wrong = await refused(log_in(assembly, password="another good phrase"))
    unknown = await refused(log_in(assembly, "eve@example.org"))
    assert wrong.name == "LOGIN_FAILED"
    assert wrong.details() == unknown.details()


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
async def test_guesses_are_delayed_whether_or_not_there_is_an_account(assembly: Assembly, email: str) -> None:
    await sign_up(assembly)
    faults = [await refused(log_in(assembly, email, f"wrong guess {n}")) for n in range(7)]
    assert [fault.name for fault in faults] == ["LOGIN_FAILED"] * 5 + ["LOGIN_DELAYED"] * 2
    assert 0 < (faults[-1].retry_after or 0) <= 1


async def test_parallel_guesses_count_each(assembly: Assembly) -> None:
    await sign_up(assembly)
    guesses = (refused(log_in(assembly, password=f"wrong guess {n}")) for n in range(20))
    names = [fault.name for fault in await asyncio.gather(*guesses)]
    assert names.count("LOGIN_FAILED") == 5


async def test_the_right_password_clears_the_count(assembly: Assembly) -> None:
    await sign_up(assembly)
    for _ in range(3):
        for n in range(4):
            await refused(log_in(assembly, password=f"wrong guess {n}"))
        await log_in(assembly)


async def test_the_hash_is_renewed_when_the_parameters_change(settings: Settings) -> None:
    async with running(settings) as (assembly, database):
        before = await sign_up(assembly)
        dearer = assemble(settings.model_copy(update={"argon2_iterations": 2}), database)
        dearer.keys.open(before.created_at)
        _, seen = await log_in(dearer)
        after = await assembly.verbs.who_am_i(tenant=before.tenant, user=before.id)
        assert "t=1" in before.password_hash
        assert "t=2" in after.password_hash
        assert after.etag != before.etag
        assert replace(seen, password_hash="", etag="") == replace(after, password_hash="", etag="")
        await log_in(dearer)
        await dearer.close()
