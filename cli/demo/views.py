"""What a demo shows: tables and a plot for people, tab-separated lines for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotext

from cli.console import say, table
from polyphony.ai.v1.recommendation_pb2 import RecommendationKind
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1.import_pb2 import Import, RejectionReason
from polyphony.spotify.v1.profile_pb2 import ListeningProfile, ProfileItem

_SHOWN_REJECTIONS = 5
_KINDS = {
    RecommendationKind.RECOMMENDATION_KIND_GOES_WELL_AFTER: "Goes well after",
    RecommendationKind.RECOMMENDATION_KIND_LOVED_AND_FORGOTTEN: "Loved and forgotten",
}


def heading(number: int, text: str, *, plain: bool) -> None:
    """The title of a step."""
    say(f"# {number} {text}" if plain else f"\n{number}  {text}", None if plain else "bold cyan")


def import_counts(found: Import, *, plain: bool) -> None:
    """What became of the plays of a file."""
    cells = (found.plays_read, found.plays_imported, found.plays_duplicate, found.plays_rejected)
    table(
        ("file", "read", "imported", "known before", "rejected"),
        [(found.file_name, *(f"{cell:,}" if not plain else str(cell) for cell in cells))],
        plain=plain,
    )
    if found.truncated:
        say("The file ends in the middle of a play; everything before is kept.")
    for rejection in found.rejections[:_SHOWN_REJECTIONS]:
        reason = RejectionReason.Name(rejection.reason).removeprefix("REJECTION_REASON_").lower()
        say(f"  line {rejection.line}: {reason.replace('_', ' ')} {rejection.field}".rstrip())
    if len(found.rejections) > _SHOWN_REJECTIONS:
        say(f"  and {found.plays_rejected - _SHOWN_REJECTIONS:,} more")


def profile(found: ListeningProfile, *, plain: bool) -> None:
    """Totals, top lists, and hours per month."""
    rows = [
        ("plays", f"{found.plays:,}"),
        ("hours", f"{_hours(found.listened):,.0f}"),
        ("different items", f"{found.distinct_items:,}"),
        ("skip rate", f"{found.skip_rate:.0%}"),
        ("first play", _day(found.first_play_time)),
        ("last play", _day(found.last_play_time)),
        ("busiest hour", f"{_busiest(found.hours_of_day):02d}:00 UTC"),
    ]
    table(("listening profile", ""), rows, plain=plain)
    for title, items in (
        ("artists", found.top_artists),
        ("tracks", found.top_tracks),
        ("albums", found.top_albums),
    ):
        say()
        table((f"top {title}", "artist", "hours", "plays"), map(_row, items), plain=plain)
    if not plain:
        _plot(found)


def _row(item: ProfileItem) -> Sequence[str]:
    return item.title, item.artist, f"{_hours(item.listened):,.1f}", f"{item.plays:,}"


def _plot(found: ListeningProfile) -> None:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(100, 16)
    plotext.title("hours per month")
    plotext.bar(
        [month.month for month in found.months], [_hours(month.listened) for month in found.months], width=0.6
    )
    print()
    plotext.show()


def recommendations(found: Iterable[Any], *, plain: bool) -> None:
    """Each recommendation with its reason and the newest play that taught it."""
    rows = []
    for each in found:
        evidence = [shown for cause in each.contributions for shown in cause.evidence]
        proof = _evidence(evidence[0]) if evidence else ""
        rows.append(
            (_KINDS.get(each.kind, ""), f"{each.item.title} — {each.item.artist}", each.reason, proof)
        )
    table(("kind", "recommended", "because", "learned from"), rows, plain=plain)


def _evidence(evidence: Any) -> str:
    if not evidence.HasField("cause_time"):
        return f"played {_moment(evidence.item_time)}"
    return f"{_moment(evidence.cause_time)} then {_moment(evidence.item_time)}"


def records(found: Iterable[Any], *, plain: bool) -> None:
    """An audit trail, oldest first."""
    rows, styles = [], []
    for each in found:
        record = each.record
        purpose = policy_pb2.Purpose.Name(record.purpose).removeprefix("PURPOSE_").lower().replace("_", " ")
        outcome = "allowed" if record.code == 0 else record.reason.lower().replace("_", " ")
        rows.append(
            (
                each.start_time.ToDatetime().strftime("%H:%M:%S"),
                record.method.removeprefix("polyphony.").replace(".v1.", "."),
                purpose,
                outcome,
                record.id,
            )
        )
        styles.append("" if record.code == 0 else "red")
    table(("time", "method", "purpose", "outcome", "audit id"), rows, plain=plain, styles=styles)


def _hours(duration: Any) -> float:
    return float(duration.ToSeconds()) / 3600


def _day(time: Any) -> str:
    return str(time.ToDatetime().date())


def _moment(time: Any) -> str:
    return str(time.ToDatetime().strftime("%Y-%m-%d %H:%M"))


def _busiest(hours: Sequence[Any]) -> int:
    return max(range(len(hours)), key=lambda hour: hours[hour].ToSeconds(), default=0)
