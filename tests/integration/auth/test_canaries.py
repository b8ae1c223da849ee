"""Passwords, tokens and what people say about themselves never rest in clear, and no error or log repeats them."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select

from services.auth.settings import Settings
from services.runtime.persistence import SYSTEM, Database
from tests.integration.auth.conftest import running
from tests.integration.auth.test_accounts import log_in, refused
from tests.integration.auth.test_refresh import refresh

EMAIL = "canary.mailbox@example.org"
PASSWORD = "canary flies over the quiet sea"
DISPLAY_NAME = "Canary Person"
TENANT_NAME = "Canary Records"


async def dump(database: Database, home: Path) -> bytes:
    """Every byte at rest: the files of SQLite, or every value of every table of PostgreSQL."""
    if database.is_sqlite:
        return b"".join(path.read_bytes() for path in (home / "data").iterdir() if path.is_file())

    def everything(tx) -> bytes:  # type: ignore[no-untyped-def]
        metadata = MetaData(schema="auth")
        metadata.reflect(tx.connection)
        return b"".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for table in metadata.sorted_tables
            for row in tx.connection.execute(select(table))
            for value in row
        )

    return await database.read(everything, tenant=SYSTEM)


async def test_nothing_secret_rests_in_clear_or_is_told(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(settings) as (assembly, database):
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
        resting = await dump(database, tmp_path)
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
