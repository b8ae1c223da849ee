"""What travels on a feed. Each domain's contract has the same messages; its adapters translate one for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State")
Change = TypeVar("Change")


@dataclass(frozen=True, slots=True)
class Ack:
    """Follower to authority: one opens a stream, and one answers each update once it is taken into use.

    `follower` names one process run, `version` is what it answers from (0: nothing yet), `sequence` counts the
    acknowledgements of one stream from 1. `leaving`: it answers no more calls, its lease is over."""

    follower: str
    version: int
    sequence: int
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[State]):
    """The whole state at `version`; replaces whatever the follower had."""

    version: int
    state: State


@dataclass(frozen=True, slots=True)
class Delta(Generic[Change]):
    """One change: takes the state from `previous` to `version`. Applies to no other state than `previous`."""

    previous: int
    version: int
    change: Change


@dataclass(frozen=True, slots=True)
class Beat:
    """The authority lives and has sent everything up to `version`; grants a lease of `lease` seconds that began when
    the acknowledgement with sequence `echo` was sent (0: none was received)."""

    version: int
    echo: int
    lease: float


Update = Snapshot[State] | Delta[Change] | Beat
Connect = Callable[[AsyncIterator[Ack]], AsyncGenerator[Update[State, Change], None]]
"""Opens one stream: takes the acknowledgements to send, yields what the authority says, and
is closed with `aclose`. `Feed.serve` is one."""
