"""Why: the concrete plays behind a recommendation, found in the journal the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """How often two tracks were heard together, when the recommended one ended the last time (Unix seconds; 0 for
    never), and the weightiest of these pairs."""

    times: int
    last: int
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


class Memory:
    """Finds the plays behind a recommendation. Made once for a journal; each question then takes microseconds."""

    def __init__(self, journal: Journal, recipe: Recipe) -> None:
        """Sorts the plays that were heard by track. `recipe` is the one that the model was trained with."""
        self._journal = journal
        self._recipe = recipe
        heard = np.flatnonzero(~journal.skipped)
        self._plays = heard[np.argsort(journal.track[heard], kind="stable")]
        self._starts = np.searchsorted(journal.track[self._plays], np.arange(len(journal.tracks) + 1))

    def heard_together(self, seed: int, item: int, limit: int) -> Together:
        """The pairs of plays of `seed` and `item` that training counted in favour of `item`; at most `limit` are
        told, the weightiest first."""
        journal, recipe = self._journal, self._recipe
        seeds, items = self._heard(seed), self._heard(item)
        # Plays of the item between `window` before and `window` after each play of the seed.
        first = np.searchsorted(items, seeds - recipe.window)
        last = np.searchsorted(items, seeds + recipe.window, side="right")
        found = last - first
        left = np.repeat(seeds, found)
        right = items[np.arange(found.sum()) + np.repeat(first - found.cumsum() + found, found)]
        same = journal.session[left] == journal.session[right]
        left, right = left[same], right[same]
        age = (journal.ended[-1] - journal.ended[np.maximum(left, right)]) / 86_400.0
        weight = (
            np.exp2(-age / recipe.half_life_days)
            * recipe.closeness ** (np.abs(right - left) - 1)
            * np.where(right > left, 1.0, recipe.backward)
        )
        best = np.lexsort((right, -weight))[:limit]
        told = np.column_stack((journal.ended[left[best]], journal.ended[right[best]])).tolist()
        pairs = zip(told, weight[best].tolist(), strict=True)
        return Together(
            len(left),
            int(journal.ended[right].max(initial=0)),
            tuple(Pair(seeded, recommended, added) for (seeded, recommended), added in pairs),
        )

    def how_loved(self, item: int, limit: int) -> Loved:
        """The plays that made `item` loved; at most `limit` of the most recent are told, latest first.

        Raises ValueError when the track was never heard to its end.
        """
        plays = self._journal.ended[self._heard(item)]
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
            tuple(plays[::-1][:limit].tolist()),
        )

    def _heard(self, track: int) -> NDArray[np.intp]:
        return self._plays[self._starts[track] : self._starts[track + 1]]
