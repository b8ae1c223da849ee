"""What goes well after what: tracks heard near each other in one session, more when recently and when close.

For each pair of plays at most `window` plays apart in one session, the later track is evidence for "goes well
after" the earlier one, and, weaker, the other way round. A pair weighs

    0.5 ** (age / half_life)  *  closeness ** (distance - 1)  *  (1 | backward)

and a skip of the recommended track counts against it, while what follows a skipped track says nothing. Sums
are normalised as a cosine and shrunk towards 0 where there is little evidence:

    similarity(a, b) = sum(a, b) / sqrt(heard(a) * heard(b))  *  sum(a, b) / (sum(a, b) + shrinkage)

Ages are relative to the last play of the journal: the same journal always gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ai.training.journal import Journal

SIMILARITY_STEP = 2.0**-20
"""Similarities are multiples of this, so that products with weights and their sums are exact in doubles."""

_CHUNK = 100_000
"""Plays whose pairs are summed at once: about 40 MB at a window of 10, however long the history is."""

Keys = NDArray[np.int64]
Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The constants of training. Half-lives in days."""

    window: int = 10
    closeness: float = 0.8
    backward: float = 0.5
    skip_penalty: float = 0.4
    half_life_days: float = 365.0
    shrinkage: float = 1.5
    neighbours: int = 60
    love_half_life_days: float = 1_460.0
    stale_after_days: float = 120.0


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each track its nearest ones, best first: both columns have the shape (tracks, neighbours).

    Places without a neighbour hold the index `tracks` and similarity 0.
    """

    index: NDArray[np.int32]
    similarity: NDArray[np.float32]


def neighbours_of(journal: Journal, recipe: Recipe) -> Neighbours:
    """Learn the neighbours of every track. Time and memory grow with plays x window."""
    age = (journal.ended[-1] - journal.ended) / 86_400.0 if len(journal) else np.empty(0)
    recency = np.exp2(-age / recipe.half_life_days)
    count = len(journal.tracks)
    heard = np.bincount(journal.track, recency * ~journal.skipped, minlength=count)
    keys, sums = np.empty(0, np.int64), np.empty(0)
    for start in range(0, len(journal), _CHUNK):
        keys, sums = _merge(keys, sums, *_pairs(journal, recency, recipe, start, start + _CHUNK))
    keep = sums > 0
    keys, sums = keys[keep], sums[keep]
    a, b = np.divmod(keys, max(count, 1))
    similarity = sums / np.sqrt(heard[a] * heard[b]) * (sums / (sums + recipe.shrinkage))
    return _nearest(a, b, similarity, count, recipe.neighbours)


def _pairs(journal: Journal, recency: Sums, recipe: Recipe, start: int, stop: int) -> tuple[Keys, Sums]:
    """The summed weights of the pairs whose earlier play is in [start, stop), keyed by from * tracks + to."""
    count, length = len(journal.tracks), len(journal)
    worth = np.where(journal.skipped, -recipe.skip_penalty, 1.0)
    keys, weights = [], []
    for distance in range(1, recipe.window + 1):
        first = np.arange(start, min(stop, length - distance))
        if not len(first):
            break
        second = first + distance
        together = (journal.session[first] == journal.session[second]) & (
            journal.track[first] != journal.track[second]
        )
        first, second = first[together], second[together]
        near = recency[second] * recipe.closeness ** (distance - 1)
        for source, target, share in ((first, second, 1.0), (second, first, recipe.backward)):
            told = ~journal.skipped[source]
            keys.append(journal.track[source[told]].astype(np.int64) * count + journal.track[target[told]])
            weights.append(near[told] * worth[target[told]] * share)
    if not keys:
        return np.empty(0, np.int64), np.empty(0)
    return _summed(np.concatenate(keys), np.concatenate(weights))


def _summed(keys: Keys, weights: Sums) -> tuple[Keys, Sums]:
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(weights[order], starts)


def _merge(keys: Keys, sums: Sums, more_keys: Keys, more_sums: Sums) -> tuple[Keys, Sums]:
    if not len(keys) or not len(more_keys):
        return (more_keys, more_sums) if len(more_keys) else (keys, sums)
    return _summed(np.concatenate((keys, more_keys)), np.concatenate((sums, more_sums)))


def _nearest(a: Keys, b: Keys, similarity: Sums, count: int, limit: int) -> Neighbours:
    quantised = np.round(similarity / SIMILARITY_STEP) * SIMILARITY_STEP
    order = np.lexsort((b, -quantised, a))
    a, b, quantised = a[order], b[order], quantised[order]
    place = np.arange(len(a)) - np.searchsorted(a, a)
    keep = (place < limit) & (quantised > 0)
    index = np.full((count, limit), count, np.int32)
    table = np.zeros((count, limit), np.float32)
    index[a[keep], place[keep]] = b[keep]
    table[a[keep], place[keep]] = quantised[keep]
    return Neighbours(index, table)
