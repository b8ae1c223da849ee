"""One training, from a journal to a model that can be registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.ai.training.affinity import affinity_of
from services.ai.training.cooccurrence import Recipe, neighbours_of
from services.ai.training.graph import digest, export
from services.ai.training.journal import Journal
from services.ai.training.quality import Quality, judge

LEAST_PLAYS = 50
"""Plays below which two tracks heard together say more about chance than about the person."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model as ONNX bytes, the SHA-256 of these, and how well it guesses sessions it has not seen."""

    model: bytes
    digest: str
    quality: Quality


def train(
    journal: Journal, recipe: Recipe, progress: Callable[[float], None] = lambda _share: None
) -> Trained:
    """Judge the recipe on held-out sessions, then train on everything.

    `progress` is told shares from 0 to 1; it may raise to abandon the training.
    """
    quality = judge(journal, recipe)
    progress(0.5)
    neighbours = neighbours_of(journal, recipe)
    affinity = affinity_of(journal, recipe)
    progress(0.9)
    model = export(neighbours, affinity, recipe)
    return Trained(model, digest(model), quality)
