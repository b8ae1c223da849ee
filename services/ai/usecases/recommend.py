"""Recommend music from the person's own model, and say which plays are the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interceptors.faults import Fault, FieldViolation
from polyphony.errors.v1 import reason_pb2
from services.ai.explanation import Kind, Recommended, forgotten, goes_well, varied
from services.ai.model import CHAMPION, Version, no_champion
from services.ai.pointers import Pointers
from services.ai.ports import Array, Stores
from services.ai.serving import Explained, Serving
from services.ai.training import Journal

CONTEXT = (1.0, 0.6, 0.35, 0.2, 0.1)
"""Weights of the tracks heard last, the latest first, where the caller names no seeds."""
CANDIDATES = 5
"""Answers asked of the model for each one given, to have a choice of artists."""
_GOES_WELL = ("items", "scores", "contributions")
_FORGOTTEN = ("forgotten_items", "forgotten_scores")
_OUTPUTS = {
    Kind.EVERY: _GOES_WELL + _FORGOTTEN,
    Kind.GOES_WELL_AFTER: _GOES_WELL,
    Kind.LOVED_AND_FORGOTTEN: _FORGOTTEN,
}
_NUMPY = {"INT64": np.int64, "FP64": np.float64}


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
        chosen = _numbers(explained, seeds) if seeds else _heard_last(journal)
        weights = [1.0] * len(chosen) if seeds else CONTEXT[: len(chosen)]
        days = max(0.0, (now.timestamp() - journal.period[1]) / 86_400)
        inputs = [
            _array("seeds", "INT64", np.array(chosen, np.int64)),
            _array("weights", "FP32", np.array(weights, np.float32)),
            _array("exclude", "INT64", np.array([len(journal.tracks)], np.int64)),
            _array("now", "FP32", np.array([days], np.float32)),
            _array("k", "INT64", np.array([size * CANDIDATES], np.int64)),
        ]
        answer = await self._serving.infer(version, inputs, _OUTPUTS[kind], seconds)
        items = await asyncio.to_thread(_explain, explained, chosen, answer, size, now)
        return Recommendations(version, items)


def _explain(
    explained: Explained, seeds: Sequence[int], answer: Mapping[str, Array], size: int, now: datetime
) -> tuple[Recommended, ...]:
    journal, memory = explained.journal, explained.memory
    found: list[Recommended] = []
    if "items" in answer:
        items, scores, added = (_values(answer[name]) for name in _GOES_WELL)
        found += [
            goes_well(journal, memory, seeds, int(items[place]), float(scores[place]), added[place])
            for place in varied(journal, items, scores, size)
        ]
    if "forgotten_items" in answer:
        items, scores = (_values(answer[name]) for name in _FORGOTTEN)
        found += [
            forgotten(journal, memory, int(items[place]), float(scores[place]), now)
            for place in varied(journal, items, scores, size)
        ]
    return tuple(found)


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
    """The different tracks heard last, the latest first; the track that is none where nothing was heard."""
    heard = journal.track[~journal.skipped][-200:][::-1]
    return list(dict.fromkeys(heard.tolist()))[: len(CONTEXT)] or [len(journal.tracks)]


def _array(name: str, datatype: str, values: NDArray[Any]) -> Array:
    return Array(name, datatype, values.shape, values.tobytes())


def _values(array: Array) -> NDArray[Any]:
    return np.frombuffer(array.data, _NUMPY[array.datatype]).reshape(array.shape)
