"""What an alias means is remembered for a moment, never past a change that this process knows of."""

import asyncio
from typing import Any

import pytest

from services.ai.changes import Changes
from services.ai.pointers import Pointers


class Storage:
    """Counts reads; a read takes as long as the test wants."""

    def __init__(self) -> None:
        self.reads = 0
        self.answer: Any = "one"
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, work: Any, *, tenant: str) -> Any:
        self.reads += 1
        answer = self.answer
        await self.gate.wait()
        return work(answer)


def find(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def ask(pointers: Pointers, user: str = "ada", alias: str = "champion") -> Any:
    return await pointers.version("t", user, "", alias, find)


async def test_it_is_read_once_until_it_is_told_or_old() -> None:
    storage, changes = Storage(), Changes()
    pointers = Pointers(storage, changes, fresh_seconds=0.05)  # type: ignore[arg-type]
    assert [await ask(pointers), await ask(pointers)] == ["one", "one"]
    assert storage.reads == 1
    storage.answer = "two"
    changes.tell("t", "bob")
    assert await ask(pointers) == "one"
    changes.tell("t", "ada")
    assert await ask(pointers) == "two"
    storage.answer = "three"
    await asyncio.sleep(0.06)
    assert await ask(pointers) == "three"


async def test_a_read_that_a_change_overtook_is_not_remembered() -> None:
    storage, changes = Storage(), Changes()
    pointers = Pointers(storage, changes, fresh_seconds=60)  # type: ignore[arg-type]
    storage.gate.clear()
    slow = asyncio.create_task(ask(pointers))
    await asyncio.sleep(0)
    storage.answer = "two"
    changes.tell("t", "ada")
    storage.gate.set()
    assert await slow == "one"
    assert await ask(pointers) == "two"


async def test_a_failure_is_not_remembered() -> None:
    storage, changes = Storage(), Changes()
    pointers = Pointers(storage, changes, fresh_seconds=60)  # type: ignore[arg-type]
    storage.answer = ValueError("none")
    with pytest.raises(ValueError, match="none"):
        await ask(pointers)
    storage.answer = "one"
    assert await ask(pointers) == "one"
