"""Ask for a training, see how it stands, cancel it. What runs it is in `run_training`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from services.ai.changes import Changes
from services.ai.model import State, Training
from services.ai.ports import Storage, Stores

R = TypeVar("R")

DEFAULT_HALF_LIFE_DAYS = 180
WORK = ("", "")
"""What is told to `Changes` when there is something to do for the worker of trainings."""


class StartTraining:
    """Queues a training."""

    def __init__(self, storage: Storage, changes: Changes) -> None:
        """`changes` wakes this process's worker."""
        self._storage = storage
        self._changes = changes

    async def __call__(self, training: Callable[[Stores], Training], *, answer: Callable[[Training], R]) -> R:
        """Returns `answer` of the training made within the transaction. Raises Fault STATE_CONFLICT while another of
        the same person has not ended."""

        def start(stores: Stores) -> R:
            queued = training(stores)
            if not queued.half_life_days:
                queued = replace(queued, half_life_days=DEFAULT_HALF_LIFE_DAYS)
            stores.trainings.add(queued)
            stores.after_commit(lambda: self._changes.tell(*WORK))
            return answer(queued)

        return await self._storage.write(start)


class GetTraining:
    """Shows a training."""

    def __init__(self, storage: Storage) -> None:
        """Holds what it needs."""
        self._storage = storage

    async def __call__(self, *, user: str, training: str) -> Training:
        """The training. Raises Fault RESOURCE_NOT_FOUND."""
        return await self._storage.read(lambda stores: stores.trainings.get(training, user))


class CancelTraining:
    """Ends a training before its time."""

    def __init__(self, storage: Storage) -> None:
        """Holds what it needs."""
        self._storage = storage

    async def __call__(self, *, user: str, training: str, answer: Callable[[Training], R]) -> R:
        """Returns `answer` of the training, which has ended now; one that had ended stays as it was.

        A worker that is on it notices at its next step and can change nothing any more. Raises RESOURCE_NOT_FOUND.
        """

        def cancel(stores: Stores) -> R:
            cancelled = stores.trainings.get(training, user).ended(State.CANCELLED, stores.now)
            stores.trainings.put(cancelled)
            return answer(cancelled)

        return await self._storage.write(cancel)
