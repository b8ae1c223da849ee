"""What a listening history is: plays, the import that brought them, and what can be counted of them."""

from services.spotify.model.export import (
    BEGINNING,
    ExportRefused,
    Portion,
    Position,
    Refusal,
    Rejection,
    RejectionReason,
)
from services.spotify.model.history import History
from services.spotify.model.importing import (
    MAX_REPORTED,
    NO_PREFIX,
    STALLED_AFTER,
    Counts,
    Import,
    ImportState,
    Prefix,
)
from services.spotify.model.play import END_REASONS, Content, ContentKind, Platform, Play, PlayFlag
from services.spotify.model.profile import (
    Favourite,
    Offset,
    Period,
    Profile,
    Tally,
    Totals,
    by_month_and_hour,
    offsets,
    zone,
)

__all__ = [
    "BEGINNING",
    "END_REASONS",
    "MAX_REPORTED",
    "NO_PREFIX",
    "STALLED_AFTER",
    "Content",
    "ContentKind",
    "Counts",
    "ExportRefused",
    "Favourite",
    "History",
    "Import",
    "ImportState",
    "Offset",
    "Period",
    "Platform",
    "Play",
    "PlayFlag",
    "Portion",
    "Position",
    "Prefix",
    "Profile",
    "Refusal",
    "Rejection",
    "RejectionReason",
    "Tally",
    "Totals",
    "by_month_and_hour",
    "offsets",
    "zone",
]
