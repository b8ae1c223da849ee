"""Does the model know anything? Its guesses for sessions it has not seen, against plain popularity.

The last sessions are held out, a model is trained on the rest, and for each held-out step from one track to
the next heard one it is asked: is the next track among the first `k` answers? The rival always answers with
the tracks most heard in recent weeks: nobody beats that by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ai.training.cooccurrence import Neighbours, Recipe, neighbours_of
from services.ai.training.journal import Journal

HELD_OUT = 0.1
"""Share of the sessions, the last ones, that is held out."""
CONTEXT = (1.0, 0.5, 0.25)
"""Weights of the tracks just heard, the latest first."""
_POPULAR_HALF_LIFE_DAYS = 30.0
_MOST_STEPS = 4_000
"""Steps judged at most, evenly chosen: enough for a standard error below one percentage point."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares, from 0 to 1, of `steps` held-out steps whose next track was among the first `k` answers."""

    k: int
    steps: int
    hit_rate: float
    popularity_hit_rate: float


def judge(journal: Journal, recipe: Recipe, k: int = 20) -> Quality:
    """Train on all but the last sessions and count hits on these."""
    split = journal.sessions - max(1, round(journal.sessions * HELD_OUT))
    known = journal.before_session(split)
    steps = _steps(journal, len(known))
    if not len(steps) or not len(known):
        return Quality(k, 0, 0.0, 0.0)
    neighbours = neighbours_of(known, recipe)
    popular = _popular(known, k)
    hits = sum(int(journal.track[i]) in _answers(neighbours, journal, int(i), k) for i in steps)
    baseline = int(np.isin(journal.track[steps], popular).sum())
    return Quality(k, len(steps), hits / len(steps), baseline / len(steps))


def _steps(journal: Journal, start: int) -> NDArray[np.int64]:
    """The held-out plays that follow another track in their session and were not skipped."""
    at = np.arange(max(start, 1), len(journal))
    follows = (
        (journal.session[at] == journal.session[at - 1])
        & (journal.track[at] != journal.track[at - 1])
        & ~journal.skipped[at]
    )
    at = at[follows]
    every = max(1, -(-len(at) // _MOST_STEPS))
    chosen: NDArray[np.int64] = at[::every]
    return chosen


def _popular(known: Journal, k: int) -> NDArray[np.int64]:
    age = (known.ended[-1] - known.ended) / 86_400.0
    heard = np.bincount(
        known.track, np.exp2(-age / _POPULAR_HALF_LIFE_DAYS) * ~known.skipped, minlength=len(known.tracks)
    )
    best: NDArray[np.int64] = np.argsort(-heard, kind="stable")[:k]
    return best


def _answers(neighbours: Neighbours, journal: Journal, at: int, k: int) -> set[int]:
    count = len(neighbours.index)
    total = np.zeros(count + 1)
    for back, weight in enumerate(CONTEXT, start=1):
        if at - back < 0 or journal.session[at - back] != journal.session[at]:
            break
        seed = journal.track[at - back]
        np.add.at(total, neighbours.index[seed], neighbours.similarity[seed] * weight)
    total[[count, journal.track[at - 1]]] = 0
    best = np.argpartition(-total, min(k, count))[:k]
    return {int(i) for i in best if total[i] > 0}
