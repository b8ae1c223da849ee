"""The listening journal: a person's plays as columns, in time order, cut into sessions.

It is what a model is trained on and what explains a recommendation afterwards, so it travels with the model
(sealed) and is destroyed with it. Columns instead of objects: 100,000 plays take about 2 MB.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

SESSION_GAP_SECONDS = 30 * 60
"""Silence that ends a session: the next play begins more than this after the last one ended."""


class Track(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A track as the person knows it; `key` identifies it, such as a Spotify URI."""

    key: str
    name: str
    artist: str
    album: str = ""


@dataclass(frozen=True, slots=True)
class Play:
    """One play of a track that ended at `ended` after `ms_played` milliseconds."""

    track: Track
    ended: datetime
    ms_played: int
    skipped: bool


@dataclass(frozen=True, slots=True)
class Journal:
    """Plays in time order. Columns have one element per play; `tracks` has one per track.

    `track` indexes `tracks`; `ended` is in seconds since the Unix epoch; `ms_played` in milliseconds;
    `session` numbers the sessions from 0.
    """

    tracks: tuple[Track, ...]
    track: NDArray[np.int32]
    ended: NDArray[np.int64]
    ms_played: NDArray[np.int32]
    skipped: NDArray[np.bool_]
    session: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.track)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return int(self.session[-1]) + 1 if len(self) else 0

    @property
    def period(self) -> tuple[int, int]:
        """When the first and the last play ended, in seconds since the Unix epoch. Raises IndexError when empty."""
        return int(self.ended[0]), int(self.ended[-1])

    def before_session(self, session: int) -> Journal:
        """The journal up to, but without, session number `session`; the tracks keep their numbers."""
        end = int(np.searchsorted(self.session, session))
        return Journal(
            self.tracks,
            self.track[:end],
            self.ended[:end],
            self.ms_played[:end],
            self.skipped[:end],
            self.session[:end],
        )


def journal_of(plays: Iterable[Play]) -> Journal:
    """Build the journal of plays that come in any order.

    The same plays give the same journal whatever their order: tracks are numbered by key, plays are ordered
    by time, then by track and length. Of several names of one track the alphabetically last is kept.
    """
    names: dict[str, Track] = {}
    first_seen: list[str] = []
    number: dict[str, int] = {}
    track, ended, played, skipped = [], [], [], []
    for play in plays:
        key = play.track.key
        if key not in number:
            number[key] = len(first_seen)
            first_seen.append(key)
        known = names.get(key)
        # Not "the last one told": that would depend on the order in which the plays arrive.
        names[key] = play.track if known is None else max(known, play.track)
        track.append(number[key])
        ended.append(int(play.ended.timestamp()))
        played.append(play.ms_played)
        skipped.append(play.skipped)

    keys = sorted(first_seen)
    rank = {key: position for position, key in enumerate(keys)}
    renumber = np.array([rank[key] for key in first_seen], np.int32)
    of_track = renumber[np.array(track, np.int32)] if track else np.empty(0, np.int32)
    of_ended = np.array(ended, np.int64)
    of_played = np.array(played, np.int32)
    of_skipped = np.array(skipped, np.bool_)
    order = np.lexsort((of_skipped, of_played, of_track, of_ended))
    of_ended, of_played = of_ended[order], of_played[order]
    return Journal(
        tuple(names[key] for key in keys),
        of_track[order],
        of_ended,
        of_played,
        of_skipped[order],
        _sessions(of_ended, of_played),
    )


def _sessions(ended: NDArray[np.int64], ms_played: NDArray[np.int32]) -> NDArray[np.int32]:
    if not len(ended):
        return np.empty(0, np.int32)
    started = ended - ms_played // 1000
    gap = started[1:] - ended[:-1] > SESSION_GAP_SECONDS
    return np.concatenate(([0], np.cumsum(gap))).astype(np.int32)


def pack(journal: Journal) -> bytes:
    """The journal as bytes: compressed columns and the names of the tracks. `unpack` reads them."""
    buffer = io.BytesIO()
    names = np.frombuffer(msgspec.msgpack.encode(journal.tracks), np.uint8)
    np.savez_compressed(
        buffer,
        names=names,
        track=journal.track,
        ended=journal.ended,
        ms_played=journal.ms_played,
        skipped=journal.skipped,
        session=journal.session,
    )
    return buffer.getvalue()


def unpack(data: bytes) -> Journal:
    """The journal that `pack` made. Raises ValueError when the bytes are not one."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as columns:
            tracks = msgspec.msgpack.decode(columns["names"].tobytes(), type=tuple[Track, ...])
            rest: dict[str, Any] = {name: columns[name] for name in columns.files if name != "names"}
            return Journal(tracks, **rest)
    except (KeyError, TypeError, ValueError, OSError, msgspec.MsgspecError) as error:
        raise ValueError("the bytes are not a listening journal") from error
