"""All that a person imported, until they delete it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class History:
    """One person's plays, as a resource. `id` tells it from those that the person deleted before."""

    id: int
    user: str
    play_count: int
    update_time: datetime
    delete_time: datetime | None
    purge_time: datetime | None
    etag: str
