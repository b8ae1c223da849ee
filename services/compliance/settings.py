"""What compliance can be told from outside, on top of what every service can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, model_validator

from services.runtime.settings import Port, SecretFile, ServiceSettings, service_config


class Settings(ServiceSettings):
    """Settings of the compliance domain, read from ``POLYPHONY_COMPLIANCE_*``."""

    model_config = service_config("compliance")

    port: Port = 50052
    checkpoint_key_file: SecretFile = Path()  # filled in below
    """The Ed25519 key (PEM, PKCS #8) that signs checkpoints and nothing else. Default: ``home/keys/checkpoint.pem``."""
    checkpoints_file: Path = Path()  # filled in below
    """Where signed checkpoints lie, apart from the ledger. Default: ``home/data/checkpoints.db``."""
    checkpoint_seconds: PositiveFloat = 1.0
    """How often a log that has grown is signed."""

    @model_validator(mode="before")
    @classmethod
    def _place_checkpoints(cls, given: dict[str, Any]) -> dict[str, Any]:
        home = Path(given.get("home") or given.get("POLYPHONY_HOME") or cls.model_fields["home"].default)
        return {
            "checkpoint_key_file": home / "keys" / "checkpoint.pem",
            "checkpoints_file": home / "data" / "checkpoints.db",
        } | given
