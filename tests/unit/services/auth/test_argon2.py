"""Password hashing: right answers, equal work for nobody, bounded, off the loop."""

import asyncio
import time

import pytest

from interceptors.faults import Fault
from services.auth.adapters.argon2 import Argon2Hasher


def hasher(**changes: int) -> Argon2Hasher:
    cheap = {"memory_kib": 64, "iterations": 1, "lanes": 1, "workers": 2, "queue": 8}
    return Argon2Hasher(**{**cheap, **changes})


async def test_only_the_password_that_was_hashed_matches() -> None:
    argon2 = hasher()
    encoded = await argon2.hash("purple llama sings")
    assert await argon2.verify("purple llama sings", encoded)
    assert not await argon2.verify("purple llama sing", encoded)
    assert not await argon2.verify("purple llama sings", None)
    assert not await argon2.verify("purple llama sings", "not a hash")


async def test_every_keyboard_types_the_same_password() -> None:
    argon2 = hasher()
    assert await argon2.verify("Cafe\u0301 noir", await argon2.hash("Caf\u00e9 noir"))


async def test_the_hash_is_argon2id_and_salted() -> None:
    argon2 = hasher()
    first, second = await argon2.hash("same"), await argon2.hash("same")
    assert first.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert first != second


async def test_hashes_of_other_parameters_are_outdated() -> None:
    encoded = await hasher().hash("p")
    assert not hasher().is_outdated(encoded)
    assert hasher(iterations=2).is_outdated(encoded)


async def test_an_account_that_does_not_exist_costs_as_much() -> None:
    """A gross check with a slow hash: skipping the work would be a hundred times faster."""
    argon2 = hasher(memory_kib=16 * 1024, iterations=2)
    encoded = await argon2.hash("p")
    spent = []
    for candidate in (encoded, None):
        began = time.perf_counter()
        for _ in range(5):
            await argon2.verify("wrong", candidate)
        spent.append(time.perf_counter() - began)
    assert 0.3 < spent[1] / spent[0] < 3


async def test_the_loop_runs_on_and_the_queue_is_bounded() -> None:
    argon2 = hasher(memory_kib=16 * 1024, iterations=4, workers=1, queue=2)
    hashing = [asyncio.create_task(argon2.hash("p")) for _ in range(5)]
    turns = 0
    while not all(task.done() for task in hashing):
        await asyncio.sleep(0)
        turns += 1
    refused = [task.exception() for task in hashing if task.exception()]
    assert len(refused) == 3
    assert turns > 100
    assert all(
        isinstance(fault, Fault) and fault.name == "OVERLOADED" and fault.retry_after for fault in refused
    )
    assert await argon2.hash("p")  # The places came back.


async def test_a_caller_who_leaves_still_holds_the_place_until_the_thread_is_done() -> None:
    argon2 = hasher(memory_kib=64 * 1024, iterations=4, workers=1, queue=1)
    leaving = asyncio.create_task(argon2.hash("p"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(Fault):
        await argon2.hash("p")
    await argon2.close()
    await asyncio.sleep(0)
    assert argon2._free == 1
