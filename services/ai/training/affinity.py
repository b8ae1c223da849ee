"""Loved and forgotten: how much a track was loved, and how long ago it was last heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ai.training.cooccurrence import Recipe
from services.ai.training.journal import Journal

LOVED_PLAYS = 5
"""A track heard to its end fewer times than this was met, not loved."""


@dataclass(frozen=True, slots=True)
class Affinity:
    """One element per track. `love` is at least 0 and has no unit; `last_heard` is in days before the last
    play of the journal (0 for a track that is loved too little to matter)."""

    love: NDArray[np.float32]
    last_heard: NDArray[np.float32]


def affinity_of(journal: Journal, recipe: Recipe) -> Affinity:
    """Love is the logarithm of the number of plays heard (each decayed by its age), less what was skipped."""
    count = len(journal.tracks)
    if not len(journal):
        return Affinity(np.zeros(count, np.float32), np.zeros(count, np.float32))
    age = (journal.ended[-1] - journal.ended) / 86_400.0
    decayed = np.exp2(-age / recipe.love_half_life_days)
    worth = np.where(journal.skipped, -recipe.skip_penalty, 1.0)
    love = np.log1p(np.maximum(np.bincount(journal.track, decayed * worth, minlength=count), 0.0))
    heard = np.bincount(journal.track, ~journal.skipped, minlength=count)
    last = np.full(count, np.inf)
    np.minimum.at(last, journal.track[~journal.skipped], age[~journal.skipped])
    loved = heard >= LOVED_PLAYS
    return Affinity(
        np.where(loved, love, 0.0).astype(np.float32), np.where(loved, last, 0.0).astype(np.float32)
    )
