"""Why: the concrete plays behind a recommendation, found in the journal the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.ai.training.cooccurrence import Recipe
from services.ai.training.journal import Journal


@dataclass(frozen=True, slots=True)
class Pair:
    """The seed and the recommended track, heard in one session. Times are when each play ended (Unix
    seconds); `weight` is what this pair added before normalisation."""

    seed_ended: int
    item_ended: int
    weight: float


@dataclass(frozen=True, slots=True)
class Together:
    """All the times that two tracks were heard together, and the weightiest of them."""

    times: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Loved:
    """How a track was loved: plays heard to the end, when first and last, the best month (`2023-05`) with its
    plays, and when the most recent plays ended. Times in Unix seconds."""

    heard: int
    first: int
    last: int
    best_month: str
    best_month_plays: int
    recent: tuple[int, ...]


def heard_together(journal: Journal, recipe: Recipe, seed: int, item: int, limit: int) -> Together:
    """The pairs of plays of `seed` and `item` that training counted in favour of `item`; at most `limit` are
    told, the weightiest first."""
    seeds = np.flatnonzero((journal.track == seed) & ~journal.skipped)
    items = np.flatnonzero((journal.track == item) & ~journal.skipped)
    if not len(seeds) or not len(items):
        return Together(0, ())
    # Plays of the item between `window` before and `window` after each play of the seed.
    first = np.searchsorted(items, seeds - recipe.window)
    last = np.searchsorted(items, seeds + recipe.window, side="right")
    found = last - first
    left = np.repeat(seeds, found)
    right = items[np.repeat(first, found) + np.arange(found.sum()) - np.repeat(found.cumsum() - found, found)]
    same = journal.session[left] == journal.session[right]
    left, right = left[same], right[same]
    later = np.maximum(left, right)
    age = (journal.ended[-1] - journal.ended[later]) / 86_400.0
    weight = (
        np.exp2(-age / recipe.half_life_days)
        * recipe.closeness ** (np.abs(right - left) - 1)
        * np.where(right > left, 1.0, recipe.backward)
    )
    best = np.lexsort((right, -weight))[:limit]
    return Together(
        len(left),
        tuple(
            Pair(int(journal.ended[left[i]]), int(journal.ended[right[i]]), float(weight[i])) for i in best
        ),
    )


def how_loved(journal: Journal, item: int, limit: int) -> Loved:
    """The plays that made `item` loved; at most `limit` of the most recent are told, latest first.

    Raises ValueError when the track was never heard to its end.
    """
    plays = journal.ended[(journal.track == item) & ~journal.skipped]
    if not len(plays):
        raise ValueError("the track was never heard to its end")
    months, counts = np.unique(plays.astype("datetime64[s]").astype("datetime64[M]"), return_counts=True)
    best = int(np.argmax(counts))
    return Loved(
        len(plays),
        int(plays[0]),
        int(plays[-1]),
        str(months[best]),
        int(counts[best]),
        tuple(int(ended) for ended in plays[::-1][:limit]),
    )
