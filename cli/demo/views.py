"""What a demo shows: tables and a plot for people, tab-separated lines for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
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
    figure = plotext.figure
    figure.clear()
    figure.plot_size(100, 14)
    figure.title("hours per month")
    months = [month.month for month in found.months]
    figure.draw(figure.bar([_hours(month.listened) for month in found.months], width=0.6))
    januaries = [index for index, month in enumerate(months) if month.endswith("-01")]
    figure.ruler("x").ticks([index + 1 for index in januaries], [months[index] for index in januaries])
    print()
    print(plotext.uncolorize(figure.build()))


def recommendations(found: Iterable[Any], *, plain: bool) -> None:
    """Each recommendation with its reason and the newest plays that taught it."""
    rows = [_explained(each) for each in found]
    if plain:
        table(("kind", "recommended", "because", "learned from"), rows, plain=True)
        return
    for kind, group in groupby(rows, key=lambda row: row[0]):
        say()
        say(kind, "bold")
        for _, title, reason, proof in group:
            say(f"  {title}")
            say(f"      {reason} {proof}", "dim")


def _explained(found: Any) -> tuple[str, str, str, str]:
    evidence = [shown for cause in found.contributions for shown in cause.evidence]
    proof = _evidence(evidence[0]) if evidence else ""
    return _KINDS.get(found.kind, ""), f"{found.item.title} — {found.item.artist}", found.reason, proof


def _evidence(evidence: Any) -> str:
    if not evidence.HasField("cause_time"):
        return f"One of these plays: {_moment(evidence.item_time)}."
    first, second = sorted((_moment(evidence.cause_time), _moment(evidence.item_time)))
    return f"The newest such session: {first} and {second[-5:]}."


def records(found: Iterable[Any], *, plain: bool) -> None:
    """An audit trail, oldest first; calls that follow each other and are alike stand in one row."""
    rows: list[tuple[str, ...]] = []
    styles = []
    for (method, purpose, outcome), group in groupby(found, key=_kind_of_record):
        alike = list(group)
        first, count = alike[0], f"{len(alike)} x" if len(alike) > 1 else ""
        started = first.start_time.ToDatetime().strftime("%H:%M:%S")
        rows.append((started, method, count, purpose, outcome, first.record.id))
        styles.append("" if outcome == "allowed" else "red")
    table(("time", "method", "", "purpose", "outcome", "audit id"), rows, plain=plain, styles=styles)


def _kind_of_record(found: Any) -> tuple[str, str, str]:
    record = found.record
    purpose = policy_pb2.Purpose.Name(record.purpose).removeprefix("PURPOSE_").lower().replace("_", " ")
    outcome = "allowed" if record.code == 0 else record.reason.lower().replace("_", " ")
    return record.method.rpartition(".")[2].replace("Service/", "."), purpose, outcome


def _hours(duration: Any) -> float:
    return float(duration.ToSeconds()) / 3600


def _day(time: Any) -> str:
    return str(time.ToDatetime().date())


def _moment(time: Any) -> str:
    return str(time.ToDatetime().strftime("%Y-%m-%d %H:%M"))


def _busiest(hours: Sequence[Any]) -> int:
    return max(range(len(hours)), key=lambda hour: hours[hour].ToSeconds(), default=0)
