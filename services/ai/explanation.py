"""From a model's numbers to recommendations with reasons: which tracks, why, and the plays that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from services.ai.training import Journal, Memory, Track

EVIDENCE = 5
"""Plays told per cause."""
PER_ARTIST = 2
"""Answers by one artist before others come first: an album heard often would otherwise fill the list."""


class Kind(IntEnum):
    """Kinds of recommendations; the numbers are the contract's."""

    EVERY = 0
    GOES_WELL_AFTER = 1
    LOVED_AND_FORGOTTEN = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """Plays that taught the model: when the cause (if it is another track) and the recommended track ended."""

    cause: datetime | None
    item: datetime


@dataclass(frozen=True, slots=True)
class Cause:
    """A track that led to a recommendation, what it added to the score, and the plays behind that, newest first."""

    track: Track
    score: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Recommended:
    """A track, why, and from what: the scores of the causes add up to `score` exactly."""

    kind: Kind
    track: Track
    score: float
    reason: str
    causes: tuple[Cause, ...]


def varied(journal: Journal, items: NDArray[np.int64], scores: NDArray[np.float64], size: int) -> list[int]:
    """The places of at most `size` answers, strongest first: the strongest few by each artist, and the rest only
    where these are too few. `items` come strongest first; a score of 0 ends them."""
    by_artist: Counter[str] = Counter()
    first: list[int] = []
    rest: list[int] = []
    for place in range(len(items)):
        if scores[place] <= 0:
            break
        artist = journal.tracks[items[place]].artist
        by_artist[artist] += 1
        (first if by_artist[artist] <= PER_ARTIST or not artist else rest).append(place)
    return sorted((first + rest)[:size])


def goes_well(
    journal: Journal,
    memory: Memory,
    seeds: Sequence[int],
    item: int,
    score: float,
    added: NDArray[np.float64],
) -> Recommended:
    """A track that goes well after the seeds; `added` is what each seed added to its score, at least one of them
    something."""
    causes: list[Cause] = []
    for place in np.argsort(-added, kind="stable"):
        if added[place] <= 0:
            break
        together = memory.heard_together(seeds[place], item, EVIDENCE)
        track = journal.tracks[seeds[place]]
        if not causes:
            reason = (
                f"You played it {_times(together.times)} within a session with “{_title(track)}”, "
                f"last on {_day(_time(together.last))}"
            )
        told = [Evidence(_time(pair.seed_ended), _time(pair.item_ended)) for pair in together.pairs]
        told.sort(key=lambda evidence: evidence.item, reverse=True)
        causes.append(Cause(track, float(added[place]), tuple(told)))
    if len(causes) > 1:
        reason += f"; {len(causes) - 1} more of the tracks you start from speak for it"
    return Recommended(Kind.GOES_WELL_AFTER, journal.tracks[item], score, reason + ".", tuple(causes))


def forgotten(journal: Journal, memory: Memory, item: int, score: float, now: datetime) -> Recommended:
    """A track that was loved and has not been played for long; it is its own cause."""
    loved = memory.how_loved(item, EVIDENCE)
    month = datetime.strptime(loved.best_month, "%Y-%m").replace(tzinfo=UTC)
    silent = (now - _time(loved.last)).days
    reason = (
        f"You played it {_times(loved.heard)} since {_day(_time(loved.first))}, "
        f"most in {month:%B %Y} ({loved.best_month_plays}), and not for {silent} days."
    )
    track = journal.tracks[item]
    told = tuple(Evidence(None, _time(ended)) for ended in loved.recent)
    return Recommended(Kind.LOVED_AND_FORGOTTEN, track, score, reason, (Cause(track, score, told),))


def _title(track: Track) -> str:
    """How a track is called in a sentence; some exports have no names, only URIs."""
    return f"{track.name} – {track.artist}" if track.name and track.artist else track.name or track.key


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _day(when: datetime) -> str:
    return f"{when.day} {when:%B %Y}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
