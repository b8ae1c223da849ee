"""Passwords, tokens and what people say about themselves never rest in clear, and no error or log repeats them."""

import logging
import uuid
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, select, text

from polyphony.auth.v1 import auth_service_pb2 as pb
from services.auth.settings import Settings
from tests.integration.auth.conftest import running
from tests.integration.auth.test_accounts import log_in, refused
from tests.integration.auth.test_refresh import refresh
from tests.integration.auth.test_service import reason, serving

EMAIL = "canary.mailbox@example.org"
PASSWORD = "canary flies over the quiet sea"
DISPLAY_NAME = "Canary Person"
TENANT_NAME = "Canary Records"


def at_rest(url: str, home: Path) -> bytes:
    """Every byte at rest: the files of SQLite, or every value of every table of PostgreSQL."""
    if url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in (home / "data").rglob("*") if path.is_file())
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SELECT set_config('app.tenant', '*', true)"))
        metadata = MetaData(schema="auth")
        metadata.reflect(connection)
        values = [
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            for value in row
        ]
    engine.dispose()
    return b"|".join(values)


async def test_nothing_secret_rests_in_clear_or_is_told(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(settings) as (assembly, _):
        user = await assembly.verbs.sign_up(
            email=EMAIL,
            password=PASSWORD,
            display_name=DISPLAY_NAME,
            tenant_display_name=TENANT_NAME,
            answer=lambda user: user,
        )
        first, _ = await log_in(assembly, EMAIL, PASSWORD)
        second = await refresh(assembly, first.refresh_token)
        faults = [
            await refused(log_in(assembly, EMAIL, PASSWORD + "!")),
            await refused(log_in(assembly, "canary.other@example.org", PASSWORD)),
            await refused(refresh(assembly, second.refresh_token[:-1])),
            await refused(
                assembly.verbs.sign_up(
                    email=EMAIL,
                    password=PASSWORD,
                    display_name="",
                    tenant_display_name="",
                    answer=lambda user: user,
                )
            ),
            await refused(
                assembly.verbs.sign_up(
                    email=EMAIL,
                    password=EMAIL,
                    display_name="",
                    tenant_display_name="",
                    answer=lambda user: user,
                )
            ),
        ]
        resting = at_rest(settings.database_url, tmp_path)
    assert user.id.encode() in resting, "the dump reads what was written"
    told = caplog.text + "".join(
        f"{fault!r} {fault} {fault.details()!r} {fault.__cause__!r}" for fault in faults
    )
    told += f"{user!r} {first!r} {second!r}".replace(repr(user.email), "").replace(
        repr(user.display_name), ""
    )
    secrets = {
        "e-mail": EMAIL,
        "local part": "canary.mailbox",
        "password": PASSWORD,
        "display name": DISPLAY_NAME,
        "tenant name": TENANT_NAME,
        "first refresh token": first.refresh_token,
        "its body": first.refresh_token[4:40],
        "second refresh token": second.refresh_token,
        "access token": first.access_token,
        "signature": first.access_token.rpartition(".")[2],
    }
    for name, secret in secrets.items():
        assert secret.encode() not in resting, f"{name} rests in clear"
        assert secret not in told, f"{name} was told"
    assert user.password_hash.encode() in resting
    assert user.password_hash not in told


async def test_key_files_are_closed_to_others(settings: Settings, tmp_path: Path) -> None:
    async with running(settings):
        files = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
        assert len(files) >= 3
        assert {path.stat().st_mode & 0o077 for path in files} == {0}


async def test_the_road_keeps_no_secret_either(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Audit records, answers kept for repetition, traces and logs, of calls that succeed and calls that fail."""
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path, database_url) as door:
        request = pb.SignUpRequest(
            email=EMAIL,
            password=PASSWORD,
            display_name=DISPLAY_NAME,
            tenant_display_name=TENANT_NAME,
            request_id=str(uuid.uuid4()),
        )
        answer = await door.stub.SignUp(request)
        assert await door.stub.SignUp(request) == answer
        tokens = (await door.log_in(EMAIL, PASSWORD)).tokens
        successor = (await door.stub.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token))).tokens
        await door.who_am_i(tokens.access_token)
        refusals = [
            await reason(door.log_in(EMAIL, PASSWORD + "!")),
            await reason(door.log_in(PASSWORD, EMAIL)),
            await reason(door.stub.SignUp(pb.SignUpRequest(email=PASSWORD, password=PASSWORD))),
            await reason(door.stub.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token + "A"))),
            await reason(door.who_am_i(tokens.access_token + "A")),
        ]
        await door.log_out(tokens.access_token)
        refusals.append(await reason(door.who_am_i(successor.access_token)))
    assert set(refusals) == {
        "LOGIN_FAILED",
        "REQUEST_INVALID",
        "REFRESH_TOKEN_INVALID",
        "CREDENTIAL_INVALID",
        "SESSION_REVOKED",
    }
    resting, told = at_rest(database_url, tmp_path), caplog.text
    assert resting.count(b"polyphony.auth.v1.AuthService/") >= len(refusals) + 6, "every call left its record"
    for secret in (
        EMAIL,
        "canary.mailbox",
        PASSWORD,
        DISPLAY_NAME,
        TENANT_NAME,
        tokens.refresh_token,
        tokens.access_token.rpartition(".")[2],
        successor.refresh_token,
        successor.access_token.rpartition(".")[2],
    ):
        assert secret.encode() not in resting, secret
        assert secret not in told, secret
