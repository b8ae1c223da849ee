"""The ZIP that Spotify sends, read as it arrives: entries are inflated in passing and never touch a disk.

Limits count what is really inflated, because an archive's own numbers are claims; a claim above a limit is refused
before anything is inflated. Entry names are never used as paths, and names that would be dangerous as paths are left
aside.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import stream_unzip

from services.spotify.model import ExportRefused, Refusal

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""How a ZIP begins: with an entry, or with the end record when it is empty."""

_HISTORY = re.compile(r"(endsong_\d+|Streaming_History_Audio_.+)\.json", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold. Sizes are in bytes, inflated.

    Spotify cuts its files at about 12 MiB and a lifetime of listening fits into forty of them. JSON of this kind
    deflates 15 to 60 times, and deflate itself ends at 1,032 times, so 200 separates the two. Archives whose
    inflated size is still below `ratio_from` are not judged by ratio.
    """

    entries: int = 1_000
    entry_bytes: int = 256 * 1024 * 1024
    total_bytes: int = 1024 * 1024 * 1024
    ratio: int = 200
    ratio_from: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry and the bytes in it, which must be exhausted before the next entry is taken. `number` counts from 0."""

    number: int
    name: str
    is_history: bool
    chunks: Iterator[bytes]


class ArchiveTruncated(Exception):
    """The archive ends in the middle, here. Everything before this place was read."""


def entries(chunks: Iterable[bytes], limits: Limits) -> Iterator[Entry]:
    """The entries in the order of the archive. Raises ExportRefused for a limit or
    damage, ArchiveTruncated where the archive is cut off."""
    meter = _Meter(limits)
    unzipped = stream_unzip.stream_unzip(meter.arriving(chunks))
    number = 0
    while True:
        try:
            raw_name, declared, inflated = next(unzipped)
        except StopIteration:
            return
        except stream_unzip.UnzipError as error:
            raise _translated(error, "") from error
        name = printable(raw_name)
        meter.open_entry(number, name, declared)
        yield Entry(number, name, is_history(raw_name), meter.inflating(name, inflated))
        number += 1


def is_history(raw_name: bytes) -> bool:
    """Whether the entry is a file of audio history, in any folder, under a name that is harmless as a path."""
    name = raw_name.decode("utf-8", "replace")
    unsafe = (
        "\\" in name
        or name.startswith("/")
        or _DRIVE.match(name)
        or ".." in name.split("/")
        or "\x00" in name
    )
    return not unsafe and _HISTORY.fullmatch(posixpath.basename(name)) is not None


def printable(raw_name: bytes) -> str:
    """A name that is safe to show: no control characters, not longer than a line."""
    name = raw_name.decode("utf-8", "replace")[:_MAX_NAME]
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )


class _Meter:
    """Counts what arrives and what is inflated, and refuses at the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arrived = 0
        self._inflated = 0

    def arriving(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._arrived += len(chunk)
            yield chunk

    def open_entry(self, number: int, name: str, declared: int | None) -> None:
        limits = self._limits
        if number >= limits.entries:
            raise ExportRefused(
                Refusal.ARCHIVE_REFUSED,
                f"the archive holds more than {limits.entries} files",
                entry=name,
                limit=limits.entries,
            )
        if declared is not None and declared > limits.entry_bytes:
            raise ExportRefused(
                Refusal.ARCHIVE_REFUSED,
                f"a file in the archive claims {declared} bytes; at most {limits.entry_bytes} are read",
                entry=name,
                limit=limits.entry_bytes,
            )

    def inflating(self, name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        limits = self._limits
        size = 0
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except stream_unzip.UnzipError as error:
                raise _translated(error, name) from error
            size += len(chunk)
            self._inflated += len(chunk)
            if size > limits.entry_bytes:
                refusal, limit, what = Refusal.ARCHIVE_REFUSED, limits.entry_bytes, "a file in the archive"
            elif self._inflated > limits.total_bytes:
                refusal, limit, what = Refusal.ARCHIVE_REFUSED, limits.total_bytes, "the archive"
            elif self._inflated > limits.ratio_from and self._inflated > limits.ratio * self._arrived:
                raise ExportRefused(
                    Refusal.ARCHIVE_REFUSED,
                    f"the archive inflates to more than {limits.ratio} times its size",
                    entry=name,
                    limit=limits.ratio,
                )
            else:
                yield chunk
                continue
            raise ExportRefused(
                refusal, f"{what} inflates to more than {limit} bytes", entry=name, limit=limit
            )


def _translated(error: Exception, name: str) -> Exception:
    if isinstance(error, stream_unzip.PasswordError | stream_unzip.MissingPasswordError):
        return ExportRefused(Refusal.ARCHIVE_REFUSED, "the archive is protected by a password", entry=name)
    if isinstance(error, stream_unzip.UnsupportedFeatureError):
        return ExportRefused(
            Refusal.ARCHIVE_REFUSED,
            "the archive uses a form of ZIP that cannot be read while it arrives",
            entry=name,
        )
    if isinstance(error, stream_unzip.TruncatedDataError):
        return ArchiveTruncated()
    return ExportRefused(Refusal.ARCHIVE_REFUSED, "the archive is damaged", entry=name)
