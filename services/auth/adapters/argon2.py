"""Password hashing with argon2id (RFC 9106) through argon2-cffi, on a small thread pool of its own.

argon2-cffi releases the GIL while it works; the bounded pool keeps a flood of log-ins from taking every
core and the bounded queue from taking the memory and the patience of everybody behind it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.auth.model.password_policy import normalise

R = TypeVar("R")


class Argon2Hasher:
    """The PasswordHasher of `ports`. `memory_kib` is per hash; `queue` bounds how many wait or run at once."""

    def __init__(self, *, memory_kib: int, iterations: int, lanes: int, workers: int, queue: int) -> None:
        """Makes the pool and the hash that stands for accounts which do not exist."""
        self._hasher = argon2.PasswordHasher(
            time_cost=iterations, memory_cost=memory_kib, parallelism=lanes, type=argon2.Type.ID
        )
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._free = queue
        # Hashed from a secret nobody knows: verifying against it costs what a real account costs and never
        # succeeds.
        self._nobody = self._hasher.hash(secrets.token_hex(32))

    async def hash(self, password: str) -> str:
        """The encoded hash, salted afresh."""
        return await self._run(self._hasher.hash, normalise(password))

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether `password` made `encoded`; for None it does the same work and says no."""
        known = encoded is not None
        matches = await self._run(
            self._matches, encoded if encoded is not None else self._nobody, normalise(password)
        )
        return known and matches

    def is_outdated(self, encoded: str) -> bool:
        """Whether `encoded` was made with other parameters than these."""
        return self._hasher.check_needs_rehash(encoded)

    async def close(self) -> None:
        """Lets running hashes finish and ends the threads."""
        await asyncio.to_thread(self._pool.shutdown)

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., R], *arguments: str) -> R:
        if self._free == 0:
            raise Fault(reason_pb2.REASON_OVERLOADED, "Too many log-ins at once.", retry_after=1.0)
        self._free -= 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        # Freed when the thread is done, not when the caller goes away: a cancelled call still occupies its
        # core.
        running.add_done_callback(self._release)
        return await asyncio.shield(running)

    def _release(self, done: asyncio.Future[Any]) -> None:
        self._free += 1
        if not done.cancelled():
            done.exception()  # Fetched: its caller may have left, and asyncio would report it.
