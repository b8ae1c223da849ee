"""What the auth domain can be told from outside: POLYPHONY_AUTH_*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from services.runtime.settings import Port, SecretFile, ServiceSettings, service_config

_HERE = Path(__file__).parent


class Settings(ServiceSettings):
    """Settings of the auth domain. Durations are seconds unless the name says days."""

    model_config = service_config("auth")

    port: Port = 50051

    server_key_file: SecretFile = Path()  # filled in below
    """At least 32 random bytes, from which refresh tokens and address digests are made. Made at the first
    start. Losing it ends every session and makes every account unreachable by its address: back it up with
    the database.
    """
    signing_keys_folder: Path = Path()  # filled in below
    """Where the keys that sign access tokens are kept. The first is made at the first start."""
    service_keys_folder: Path = Path()  # filled in below
    """Where each service's public key lies as `<service>.service.pub.pem`."""
    policy_file: Path = _HERE / "policy.csv"
    """The rules of roles."""
    policy_model_file: Path = _HERE / "policy_model.conf"
    """The Casbin model of the rules."""

    access_token_seconds: PositiveInt = 900
    signing_key_days: PositiveFloat = 90.0
    """The age at which a signing key is replaced."""
    signing_key_lead_seconds: PositiveInt = 600
    """How long a new key is published before it signs: longer than any verifier keeps the key set."""

    session_idle_days: PositiveFloat = 30.0
    """A session ends when it was not refreshed for so long."""
    session_absolute_days: PositiveFloat = 90.0
    """A session ends so long after its log-in, whatever happens."""
    refresh_grace_seconds: float = Field(default=30.0, ge=0, le=300)
    """How long a used refresh token still gets the same successor, for answers that were lost."""

    # OWASP Password Storage Cheat Sheet: argon2id with m=19 MiB, t=2, p=1.
    argon2_memory_kib: int = Field(default=19 * 1024, ge=8)
    argon2_iterations: PositiveInt = 2
    argon2_lanes: PositiveInt = 1
    hash_workers: PositiveInt = 2
    """How many passwords are hashed at once: the cores that log-ins may take."""
    hash_queue: PositiveInt = 64
    """How many hashes may run or wait; the next one is refused with OVERLOADED."""

    password_min_length: int = Field(default=10, ge=8)
    password_max_length: int = Field(default=128, ge=64)
    common_passwords_file: Path = _HERE / "common_passwords.txt"

    login_free_attempts: PositiveInt = 5
    """Attempts at one address before each further one has to wait."""
    login_first_delay_seconds: PositiveFloat = 1.0
    login_longest_delay_seconds: PositiveFloat = 300.0
    login_forget_days: PositiveFloat = 1.0
    """Attempts are forgotten after so long without another."""

    @model_validator(mode="before")
    @classmethod
    def _keep_keys_in_home(cls, given: dict[str, Any]) -> dict[str, Any]:
        home = Path(given.get("home") or given.get("POLYPHONY_HOME") or cls.model_fields["home"].default)
        return {
            "server_key_file": home / "keys" / "auth.server.key",
            "signing_keys_folder": home / "keys" / "signing",
            "service_keys_folder": home / "keys",
        } | given
