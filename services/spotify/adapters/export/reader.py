"""The history reader: bytes of an export in, portions of plays out, in one pass and with flat memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import chain

from services.spotify.adapters.export.archive import MAGIC, ArchiveTruncated, Entry, Limits, entries
from services.spotify.adapters.export.encoding import as_utf8
from services.spotify.adapters.export.record import FIELD_TO_BLAME, ExportedPlay, PlayMaker
from services.spotify.adapters.export.splitter import ArrayBroken, ArraySplitter, BadElement, Window
from services.spotify.model import (
    BEGINNING,
    ExportRefused,
    Play,
    Portion,
    Position,
    Refusal,
    Rejection,
    RejectionReason,
)


class ExportReader:
    """Reads exports. Has no state of its own; one serves every import."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def read(self, chunks: Iterable[bytes], *, now: float, start: Position = BEGINNING) -> Iterator[Portion]:
        """The portions of a ZIP or a plain JSON file, from `start` on; what lies before `start` is passed over.

        The same bytes give the same elements at the same positions, however they are cut into chunks. Raises
        ExportRefused where the rest cannot be read, after everything before it. `now` is in seconds since the epoch.
        """
        pieces = iter(chunks)
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= len(MAGIC[0]):
                break
        whole = chain((head,), pieces)
        maker = PlayMaker(now)
        if head.startswith(MAGIC):
            yield from self._read_archive(whole, maker, start)
        elif start.entry == 0:
            yield from _read_entry(Entry(0, "", True, whole), maker, start.element)

    def _read_archive(self, chunks: Iterable[bytes], maker: PlayMaker, start: Position) -> Iterator[Portion]:
        found = False
        following = 0
        try:
            for entry in entries(chunks, self._limits):
                following = entry.number + 1
                found = found or entry.is_history
                if entry.number < start.entry or not entry.is_history:
                    _drain(entry.chunks)
                    if entry.number >= start.entry:
                        yield Portion(Position(following), [], [], [entry.name])
                elif (
                    yield from _read_entry(entry, maker, start.element if entry.number == start.entry else 0)
                ):
                    return
        except ArchiveTruncated:
            if start.entry <= following:
                yield Portion(Position(following + 1), [], [Rejection("", 0, RejectionReason.TRUNCATED)], [])
            return
        if not found:
            raise ExportRefused(
                Refusal.FORMAT_UNKNOWN, "The archive holds no file of a Spotify listening history."
            )


def _drain(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def _read_entry(entry: Entry, maker: PlayMaker, skip: int) -> Generator[Portion, None, bool]:
    """The portions of one history file from element `skip` on. Returns whether the archive is cut off in it."""
    content = _Content(entry)
    nothing_read = True
    try:
        for window in _windows(content, ArraySplitter()):
            portion = _portion(window, entry, maker, skip)
            nothing_read = False
            if portion.plays or portion.rejections:
                yield portion
    except ArrayBroken as broken:
        if nothing_read and broken.reason is RejectionReason.NOT_JSON and not entry.name:
            raise ExportRefused(
                Refusal.FORMAT_UNKNOWN, "The file is neither a ZIP nor a JSON array."
            ) from broken
        yield Portion(Position(entry.number + 1), [], [Rejection(entry.name, broken.line, broken.reason)], [])
        _drain(content)
    return content.cut_off


class _Content:
    """An entry's bytes up to its end, or to where the archive is cut off."""

    def __init__(self, entry: Entry) -> None:
        self._chunks = entry.chunks
        self.cut_off = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except ArchiveTruncated:
            self.cut_off = True


def _windows(content: _Content, splitter: ArraySplitter) -> Iterator[Window]:
    try:
        for chunk in as_utf8(content):
            yield from splitter.feed(chunk)
    except (UnicodeDecodeError, ExportRefused) as error:
        with suppress(ArrayBroken):
            yield from splitter.finish()
        if isinstance(error, ExportRefused):
            raise
        raise ArrayBroken(RejectionReason.ENCODING_INVALID, splitter.line) from error
    yield from splitter.finish()


def _portion(window: Window, entry: Entry, maker: PlayMaker, skip: int) -> Portion:
    elements = window.elements
    passed = min(max(0, skip - window.first), len(elements))
    make = maker.make
    plays: list[Play] = []
    rejections: list[Rejection] = []
    for number, element in enumerate(elements[passed:] if passed else elements, window.first + passed):
        made = make(element) if type(element) is ExportedPlay else element
        if type(made) is Play:
            plays.append(made)
        elif isinstance(made, BadElement):
            rejections.append(Rejection(entry.name, window.line(number), made.reason, made.field))
        elif isinstance(made, RejectionReason):
            rejections.append(Rejection(entry.name, window.line(number), made, FIELD_TO_BLAME[made]))
    return Portion(Position(entry.number, window.first + len(elements)), plays, rejections, [])
