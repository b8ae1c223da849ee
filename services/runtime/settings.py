"""What every service can be told from outside, and the only place that reads the environment.

A domain subclasses `ServiceSettings` with `model_config = service_config("<domain>")`: every field is then read from
`POLYPHONY_<DOMAIN>_<FIELD>`. The state folder is `POLYPHONY_HOME` for all of them; each path that is not given lies
in it, so that on a laptop nothing needs to be set. Secrets are never values of the environment, but files that only
their owner can read; that is checked here, when the settings load.
"""

import stat
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def service_config(domain: str) -> SettingsConfigDict:
    """The `model_config` of a domain's settings: prefix `POLYPHONY_<DOMAIN>_`, immutable, no unknown keys."""
    return SettingsConfigDict(
        env_prefix=f"POLYPHONY_{domain.upper()}_",
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        title=domain,
    )


def owner_only(path: Path) -> Path:
    """Accept `path` when it is a regular file that no group and no other user can touch.

    A missing file is accepted here, so that settings can be built before keys are: whoever reads it says that it is
    missing. Raises `ValueError` (and pydantic a `ValidationError` naming the field) when the mode is too open.
    """
    if path.exists():
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is not a regular file")
        if mode & 0o077:
            raise ValueError(
                f"{path} holds a secret but has mode {stat.S_IMODE(mode):04o}; run: chmod 600 {path}"
            )
    return path


SecretFile = Annotated[Path, AfterValidator(owner_only)]
"""A path whose content is secret. Checked to be closed to group and others, each time settings load."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the kernel choose one, which tests use."""


class ProcessSettings(BaseSettings):
    """What concerns a process, whichever domains run in it. Read from `POLYPHONY_PROCESS_*`."""

    model_config = SettingsConfigDict(env_prefix="POLYPHONY_PROCESS_", frozen=True)

    tuned: bool = True
    """Whether gRPC's slower event engine is switched off and threads run under SCHED_BATCH; see `tuning`."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")


class ServiceSettings(BaseSettings):
    """Settings common to every domain. Durations are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix="POLYPHONY_", frozen=True, extra="forbid", populate_by_name=True
    )

    home: Path = Field(default=Path(".polyphony"), validation_alias="POLYPHONY_HOME")
    """The state folder of the mesh."""

    host: str = "127.0.0.1"
    port: Port = 0
    metrics_port: Port = 0
    """Where Prometheus scrapes this process, on loopback only. Default: the gRPC port + 1000."""
    worker: str = Field(default="0", pattern="^[a-z0-9-]{1,32}$")
    """Names this process among the workers of its domain: in logs, in traces, on the feeds."""

    database_url: str = ""  # filled in below
    """An SQLAlchemy URL. Default: SQLite in `home/data/<domain>.db`."""
    database_password_file: SecretFile | None = None
    kek_file: SecretFile = Path()  # filled in below
    """The key-encryption key, 32 bytes. Default: `home/keys/<domain>.kek`."""
    service_key_file: SecretFile = Path()  # filled in below
    """The Ed25519 key with which this service proves who it is. Default: `home/keys/<domain>.service.pem`."""

    auth_endpoint: str = "127.0.0.1:50051"
    compliance_endpoint: str = "127.0.0.1:50052"
    redis_url: str = "redis://127.0.0.1:16379/0"
    redis_password_file: SecretFile = Path()  # filled in below
    """Default: `home/keys/redis.password`."""

    tls_certificate_file: Path | None = None
    tls_key_file: SecretFile | None = None
    tls_ca_file: Path | None = None
    """With all three, listener and channels speak mutual TLS; with none, plaintext, which belongs on loopback."""

    token_issuer: str = "https://auth.polyphony.internal"  # noqa: S105 - a name, not a secret
    token_audience: str = "polyphony"  # noqa: S105 - a name, not a secret
    feed_lease_seconds: PositiveFloat = 3.0
    """How long what a feed said counts as current after it was last heard."""

    limit_rate: PositiveFloat = 500.0
    """Cost units per second that one actor of one tenant may spend at this process in the long run."""
    limit_burst: PositiveFloat = 1000.0
    """Cost units that such an actor may spend at once."""
    limit_concurrency: PositiveInt = 256
    """Calls in flight at which the least urgent class of calls begins to be shed."""
    max_message_bytes: PositiveInt = 16 * 1024 * 1024
    """What the transport accepts at most. Above each method's own limit, so that the road refuses with a reason."""

    drain_seconds: float = Field(default=1.5, ge=0)
    """Between saying NOT_SERVING and refusing new calls: longer than two of the balancer's health checks."""
    grace_seconds: float = Field(default=10.0, ge=0)
    """How long the calls that are in flight at a stop may take to end."""

    otlp_endpoint: str | None = None
    """Where spans go (OTLP over gRPC). Without it nothing is exported."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of new traces that is sampled; a caller's own decision is respected."""

    @property
    def domain(self) -> str:
        """The domain's name, as given to `service_config`."""
        return str(self.model_config.get("title") or "service")

    @model_validator(mode="before")
    @classmethod
    def _place_in_home(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Put paths that were not given into the state folder; before validation, so that defaults are checked too."""
        home = Path(given.get("home") or given.get("POLYPHONY_HOME") or cls.model_fields["home"].default)
        port = str(given.get("port") or cls.model_fields["port"].default)
        domain = str(cls.model_config.get("title") or "service")
        return {
            "database_url": f"sqlite:///{home / 'data' / f'{domain}.db'}",
            "kek_file": home / "keys" / f"{domain}.kek",
            "service_key_file": home / "keys" / f"{domain}.service.pem",
            "redis_password_file": home / "keys" / "redis.password",
            "metrics_port": int(port) + 1000 if port.isdecimal() and port != "0" else 0,
        } | given

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        given = [self.tls_certificate_file, self.tls_key_file, self.tls_ca_file]
        if any(given) and not all(given):
            raise ValueError(
                "mutual TLS needs tls_certificate_file, tls_key_file and tls_ca_file, or none of them"
            )
        return self


def read_secret(path: Path) -> bytes:
    """The content of a secret file, without a trailing newline.

    Raises `FileNotFoundError` naming the file and how to get one, `ValueError` when its mode is too open.
    """
    try:
        return owner_only(path).read_bytes().rstrip(b"\r\n")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing; `polyphony up` makes the keys of a development mesh"
        ) from None
