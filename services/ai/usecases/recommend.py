"""Recommend music from the person's own model, and say which plays are the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interceptors.faults import Fault, FieldViolation
from polyphony.errors.v1 import reason_pb2
from services.ai.model import CHAMPION, Version, no_champion
from services.ai.pointers import Pointers
from services.ai.ports import Array, Stores
from services.ai.serving import Explained, Serving
from services.ai.training import Journal, Track

EVIDENCE = 5
"""Plays told per cause."""
CONTEXT = (1.0, 0.6, 0.35, 0.2, 0.1)
"""Weights of the tracks heard last, the latest first, where the caller names no seeds."""
_GOES_WELL = ("items", "scores", "contributions")
_FORGOTTEN = ("forgotten_items", "forgotten_scores")
_NUMPY = {"INT64": np.int64, "FP64": np.float64}


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


@dataclass(frozen=True, slots=True)
class Recommendations:
    """An answer and the version that gave it."""

    version: Version
    items: tuple[Recommended, ...]


class Recommend:
    """Asks the champion and explains its answer."""

    def __init__(self, pointers: Pointers, serving: Serving) -> None:
        """Holds what it needs."""
        self._pointers = pointers
        self._serving = serving

    async def champion(self, tenant: str, user: str) -> Version:
        """The version that answers for a person now. Raises Fault MODEL_NOT_TRAINED or MODEL_QUARANTINED."""

        def find(stores: Stores) -> Version:
            version = stores.models.meant(user, CHAMPION)
            if version is None:
                raise no_champion(stores.models.of(user))
            return version.require_usable()

        return await self._pointers.version(tenant, user, "", CHAMPION, find)

    async def __call__(
        self, version: Version, *, kind: Kind, size: int, seeds: Sequence[str], now: datetime, seconds: float
    ) -> Recommendations:
        """At most `size` recommendations of each kind asked for, strongest first.

        Raises Fault REQUEST_INVALID for a seed that the model does not know, and the faults of `Serving.infer`.
        """
        explained = await self._serving.explained(version)
        journal = explained.journal
        if seeds:
            chosen = _numbers(explained, seeds)
            weights = [1.0] * len(chosen)
        else:
            chosen = _heard_last(journal)
            weights = list(CONTEXT[: len(chosen)])
        wanted = (*(_GOES_WELL if kind != Kind.LOVED_AND_FORGOTTEN else ()),
                  *(_FORGOTTEN if kind != Kind.GOES_WELL_AFTER else ()))  # fmt: skip
        days = max(0.0, (now.timestamp() - journal.period[1]) / 86_400)
        inputs = [
            _array("seeds", "INT64", np.array(chosen, np.int64)),
            _array("weights", "FP32", np.array(weights, np.float32)),
            _array("exclude", "INT64", np.array([len(journal.tracks)], np.int64)),
            _array("now", "FP32", np.array([days], np.float32)),
            _array("k", "INT64", np.array([size], np.int64)),
        ]
        answer = await self._serving.infer(version, inputs, wanted, seconds)
        return await asyncio.to_thread(_explain, version, explained, chosen, answer, now)


def _explain(
    version: Version,
    explained: Explained,
    seeds: Sequence[int],
    answer: Mapping[str, Array],
    now: datetime,
) -> Recommendations:
    found: list[Recommended] = []
    if "items" in answer:
        items, scores, added = (_values(answer[name]) for name in _GOES_WELL)
        found += [
            _goes_well(explained, seeds, int(item), float(score), parts)
            for item, score, parts in zip(items, scores, added, strict=True)
            if score > 0
        ]
    if "forgotten_items" in answer:
        items, scores = (_values(answer[name]) for name in _FORGOTTEN)
        found += [
            _forgotten(explained, int(item), float(score), now)
            for item, score in zip(items, scores, strict=True)
            if score > 0
        ]
    return Recommendations(version, tuple(found))


def _goes_well(
    explained: Explained,
    seeds: Sequence[int],
    item: int,
    score: float,
    added: NDArray[np.float64],
) -> Recommended:
    tracks = explained.journal.tracks
    causes: list[Cause] = []
    strongest, times = 0, 0
    for place in np.argsort(-added, kind="stable"):
        if added[place] <= 0:
            break
        together = explained.memory.heard_together(seeds[place], item, EVIDENCE)
        if not causes:
            strongest, times = seeds[place], together.times
        evidence = sorted((Evidence(_time(p.seed_ended), _time(p.item_ended)) for p in together.pairs),
                          key=lambda e: e.item, reverse=True)  # fmt: skip
        causes.append(Cause(tracks[seeds[place]], float(added[place]), tuple(evidence)))
    last = max((e.item for cause in causes for e in cause.evidence), default=None)
    reason = f"You played it {_times(times)} within a session with “{title(tracks[strongest])}”"
    if last is not None:
        reason += f", last on {_day(last)}"
    if len(causes) > 1:
        reason += f"; {len(causes) - 1} more of the tracks you start from speak for it"
    return Recommended(Kind.GOES_WELL_AFTER, tracks[item], score, reason + ".", tuple(causes))


def _forgotten(explained: Explained, item: int, score: float, now: datetime) -> Recommended:
    loved = explained.memory.how_loved(item, EVIDENCE)
    month = datetime.strptime(loved.best_month, "%Y-%m").replace(tzinfo=UTC)
    silent = (now - _time(loved.last)).days
    reason = (
        f"You played it {_times(loved.heard)} since {_day(_time(loved.first))}, "
        f"most in {month:%B %Y} ({loved.best_month_plays}), and not for {silent} days."
    )
    evidence = tuple(Evidence(None, _time(ended)) for ended in loved.recent)
    track = explained.journal.tracks[item]
    return Recommended(Kind.LOVED_AND_FORGOTTEN, track, score, reason, (Cause(track, score, evidence),))


def _numbers(explained: Explained, seeds: Sequence[str]) -> list[int]:
    unknown = [
        FieldViolation(
            f"seed_uris[{place}]", "The model has never heard this track; seeds are tracks of the history."
        )
        for place, seed in enumerate(seeds)
        if seed not in explained.index
    ]
    if unknown:
        raise Fault(
            reason_pb2.REASON_REQUEST_INVALID, "The model does not know all the seeds.", fields=unknown
        )
    # A seed named twice would count twice.
    return list(dict.fromkeys(explained.index[seed] for seed in seeds))


def _heard_last(journal: Journal) -> list[int]:
    """The different tracks heard last, the latest first."""
    heard = journal.track[~journal.skipped][-200:][::-1]
    return [int(track) for track in dict.fromkeys(heard.tolist())][: len(CONTEXT)] or [len(journal.tracks)]


def _array(name: str, datatype: str, values: NDArray[Any]) -> Array:
    return Array(name, datatype, values.shape, values.tobytes())


def _values(array: Array) -> NDArray[Any]:
    return np.frombuffer(array.data, _NUMPY[array.datatype]).reshape(array.shape)


def title(track: Track) -> str:
    """How a track is called in a sentence; some exports have no names, only URIs."""
    return f"{track.name} – {track.artist}" if track.name and track.artist else track.name or track.key


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _day(when: datetime) -> str:
    return f"{when.day} {when:%B %Y}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
