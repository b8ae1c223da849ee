"""What the spotify domain can be told from outside: POLYPHONY_SPOTIFY_*."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from services.runtime.settings import Port, ServiceSettings, service_config


class Settings(ServiceSettings):
    """Settings of the spotify domain. Sizes are bytes, inflated unless the name says otherwise."""

    model_config = service_config("spotify")

    port: Port = 50053

    import_readers: PositiveInt = 8
    """Files read at once by this process; the next one is refused with OVERLOADED. Each takes about 20 MB."""
    import_max_bytes: PositiveInt = 1024 * 1024 * 1024
    """The largest file accepted, as it is sent. A lifetime of listening is below 50 MB zipped, 600 MB as JSON."""
    archive_max_entries: PositiveInt = 1_000
    archive_max_entry_bytes: PositiveInt = 256 * 1024 * 1024
    archive_max_bytes: PositiveInt = 1024 * 1024 * 1024
    archive_max_ratio: PositiveInt = 200
    """How many times its own size an archive may inflate to; see `adapters.export.archive.Limits`."""

    history_keep_days: PositiveFloat = 30.0
    """How long a deleted history can be brought back before it is purged."""
    purge_seconds: PositiveFloat = 60.0
    """How often histories to purge are looked for."""
