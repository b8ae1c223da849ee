"""What the ai domain can be told from outside: POLYPHONY_AI_*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, PositiveInt, model_validator

from services.runtime.settings import Port, SecretFile, ServiceSettings, service_config


class Settings(ServiceSettings):
    """Settings of the ai domain. Durations are in seconds."""

    model_config = service_config("ai")

    port: Port = 50054

    spotify_endpoint: str = "127.0.0.1:50053"
    triton_endpoint: str = "127.0.0.1:18001"
    triton_key_file: SecretFile = Path()  # filled in below
    """What Triton wants from its callers. Default: `home/keys/triton.key`."""
    triton_models: Path = Path()  # filled in below
    """The model repository that Triton reads. Default: `home/triton/models`."""

    loaded_models: PositiveInt = 16
    """Versions that this process keeps loaded in Triton (about 70 MB each there) and explained in its own memory."""
    model_idle_seconds: PositiveFloat = 900.0
    """A version that was not used for so long is unloaded."""
    model_instances: PositiveInt = 1
    """Requests for one version that Triton answers at once; each instance is a process of its own there."""
    tidy_seconds: PositiveFloat = 30.0
    """How often what is idle, or may not be used any more, is looked for and dropped."""
    infer_seconds: PositiveFloat = 5.0
    """How long a call waits for a model at most, even if its own deadline is later."""

    alias_fresh_seconds: PositiveFloat = 1.0
    """How long a process answers from what it knows of an alias that another process may have moved."""

    training_lease_seconds: PositiveFloat = 15.0
    """After how long without a sign of life a training is taken over from its worker."""
    training_poll_seconds: PositiveFloat = 1.0
    """How often an idle worker looks for trainings that other processes queued."""
    watch_poll_seconds: PositiveFloat = 1.0
    """How often an open stream looks for a champion that another process changed."""

    @model_validator(mode="before")
    @classmethod
    def _keep_triton_in_home(cls, given: dict[str, Any]) -> dict[str, Any]:
        home = Path(given.get("home") or given.get("POLYPHONY_HOME") or cls.model_fields["home"].default)
        return {
            "triton_key_file": home / "keys" / "triton.key",
            "triton_models": home / "triton" / "models",
        } | given
