"""Splits a JSON array that arrives in pieces into typed elements, and says exactly which elements are bad.

Two paths give the same answer. The fast one bets that the last `}` of what has arrived closes an element, puts brackets
around everything up to there and lets msgspec decode it in one go; a complete JSON array can only come out of that bet
when it was right. Where it fails (the brace was inside a name, or an element is bad), the exact path walks the tokens,
cuts element by element and decodes each alone. Memory stays within one window whatever the file's size.

Damage does not spread: every known export starts its elements with `"ts"`, so an element whose quotes or braces do not
balance ends where the next such start is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from services.spotify.adapters.export.record import ExportedPlay
from services.spotify.model import RejectionReason

WINDOW = 64 * 1024
"""How many bytes are gathered before the fast path is tried, so that tiny chunks cost no more than large ones."""

MAX_ELEMENT = 256 * 1024
"""The largest element, in bytes. A play takes about 700. Both paths refuse longer ones."""

_ELEMENT = msgspec.json.Decoder(ExportedPlay)
_ELEMENTS = msgspec.json.Decoder(list[ExportedPlay])

_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_SEPARATORS = re.compile(rb"[\s,]*")
# A string (an unfinished one matches as a lone quote), or a bracket. Possessive: no backtracking over hostile input.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]]', re.DOTALL)
_NEXT_ELEMENT = re.compile(rb'\{\s*"ts"\s*:')
_FIELD = re.compile(r"missing required field `(\w+)`|at `\$\.(\w+)`")
_REASON_OF_FIELD = {
    "ts": RejectionReason.TIME_INVALID,
    "ms_played": RejectionReason.LENGTH_INVALID,
    "": RejectionReason.NOT_JSON,  # not an object
}
_SCALAR = re.compile(rb"[^\s,\[\]{]+")


@dataclass(frozen=True, slots=True)
class BadElement:
    """An element that cannot be decoded: why, and the field to blame (empty: the whole element)."""

    reason: RejectionReason
    field: str = ""


_TOO_LONG = BadElement(RejectionReason.NOT_JSON)


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive elements, good and bad, in order. `first` is the number of the first one, from 0."""

    first: int
    elements: list[ExportedPlay | BadElement] | list[ExportedPlay]
    lines: _Lines

    def line(self, element: int) -> int:
        """The line, from 1, on which element number `element` (from 0 in the array) begins."""
        return self.lines.of(element - self.first)


class ArrayBroken(Exception):
    """The input is not, or no longer, an array of plays. `line` counts from 1."""

    def __init__(self, reason: RejectionReason, line: int) -> None:
        self.reason = reason
        self.line = line
        super().__init__(f"{reason.name} at line {line}")


class _Lines:
    """Where elements begin. The fast path does not know; it finds out only when someone asks."""

    def __init__(self, data: bytes, line: int, starts: list[int] | None = None) -> None:
        self._data = data
        self._line = line
        self._starts = starts

    def of(self, index: int) -> int:
        if self._starts is None:
            self._starts = [start for start, _ in _cut(self._data, 1)]  # behind the bracket
        return self._line + self._data.count(b"\n", 0, self._starts[index])


class ArraySplitter:
    """Feed it UTF-8 bytes, get windows of elements. `finish` at the end of the input."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._buffer = b""
        self._line = 1
        self._first = 0
        self._opened = False
        self._closed = False
        self._skipping = False

    @property
    def line(self) -> int:
        """The line, from 1, up to which everything was taken."""
        return self._line

    def feed(self, data: bytes) -> Iterator[Window]:
        """Windows that are complete with `data`. Raises `ArrayBroken` where the input is no array."""
        for start in range(0, len(data), WINDOW):
            piece = data[start : start + WINDOW]  # the whole, uncopied, where it is not longer
            self._pieces.append(piece)
            self._gathered += len(piece)
            if self._gathered >= WINDOW:
                yield from self._take(final=False)

    def finish(self) -> Iterator[Window]:
        """The rest. Raises `ArrayBroken` with TRUNCATED after it where the array was not closed."""
        yield from self._take(final=True)
        if self._closed:
            return
        raise ArrayBroken(RejectionReason.TRUNCATED if self._opened else RejectionReason.NOT_JSON, self._line)

    def _take(self, *, final: bool) -> Iterator[Window]:
        self._buffer = b"".join((self._buffer, *self._pieces))
        self._pieces.clear()
        self._gathered = 0
        if not self._opened:
            self._open()
        if self._opened and not self._closed:
            window = self._fast()
            if window is not None:
                yield window
            # What the fast path left is less than an element, unless it lost its bet; at the end the rest is due.
            if window is None or final:
                yield from self._exact(final=final)
        if self._closed:
            self._expect_nothing_more()

    def _open(self) -> None:
        self._advance(len(self._buffer) - len(self._buffer.lstrip()))
        if not self._buffer:
            return
        if not self._buffer.startswith(b"["):
            raise ArrayBroken(RejectionReason.NOT_JSON, self._line)
        self._advance(1)
        self._opened = True

    def _fast(self) -> Window | None:
        if self._skipping or len(self._buffer) > MAX_ELEMENT:
            return None
        start = _after_separators(self._buffer)
        end = self._buffer.rfind(b"}") + 1
        if end <= start:
            return None
        body = b"".join((b"[", memoryview(self._buffer)[start:end], b"]"))
        try:
            elements = _ELEMENTS.decode(body)
        except _NOT_DECODED:
            return None
        line = self._line + (self._buffer.count(b"\n", 0, start) if start else 0)
        window = Window(self._first, elements, _Lines(body, line))
        self._advance(end)
        self._first += len(elements)
        return window

    def _exact(self, *, final: bool) -> Iterator[Window]:
        if self._skipping and not self._resume():
            return
        elements: list[ExportedPlay | BadElement] = []
        starts: list[int] = []
        end = 0
        for start, stop in _cut(self._buffer):
            elements.append(_decode(self._buffer[start:stop]) if stop - start <= MAX_ELEMENT else _TOO_LONG)
            starts.append(start)
            end = stop
        rest = _after_separators(self._buffer, end)
        if self._buffer.startswith(b"]", rest):
            self._closed = True
            rest += 1
        elif len(self._buffer) - rest > MAX_ELEMENT:
            elements.append(_TOO_LONG)
            starts.append(rest)
            self._skipping = True
        if elements:
            yield Window(self._first, elements, _Lines(self._buffer, self._line, starts))
            self._first += len(elements)
        self._advance(rest)
        if self._skipping:
            self._advance(1)  # past the start of the element that is skipped
            if self._resume():
                yield from self._exact(final=final)

    def _resume(self) -> bool:
        """Whether the start of an element was found behind one that was too long."""
        found = _NEXT_ELEMENT.search(self._buffer)
        if found is None:
            self._advance(max(0, len(self._buffer) - 64))  # the start may be half arrived
            return False
        self._advance(found.start())
        self._skipping = False
        return True

    def _expect_nothing_more(self) -> None:
        rest = self._buffer.lstrip()
        if rest:
            self._advance(len(self._buffer) - len(rest))
            raise ArrayBroken(RejectionReason.NOT_JSON, self._line)
        self._advance(len(self._buffer))

    def _advance(self, count: int) -> None:
        self._line += self._buffer.count(b"\n", 0, count)
        self._buffer = self._buffer[count:]


def _after_separators(data: bytes, position: int = 0) -> int:
    found = _SEPARATORS.match(data, position)
    return found.end() if found else position


def _cut(data: bytes, position: int = 0) -> Iterator[tuple[int, int]]:
    """The bounds of the complete elements in `data`, up to the array's end or the first incomplete one."""
    following = -1
    while True:
        start = _after_separators(data, position)
        if start == len(data) or data.startswith(b"]", start):
            return
        if following <= start:
            found = _NEXT_ELEMENT.search(data, start + 1)
            following = found.start() if found else len(data) + 1
        stop = _element_end(data, start, following)
        if stop is None:
            return
        yield start, stop
        position = stop


def _element_end(data: bytes, start: int, following: int) -> int | None:
    """Where the element at `start` ends: where its brackets balance, or at the next element's start if they do not
    balance before it. None where neither has arrived."""
    if data[start : start + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(data, start)
        return scalar.end() if scalar and scalar.end() < len(data) else None
    depth = 0
    for token in _TOKEN.finditer(data, start):
        if token.start() >= following:
            return following
        mark = token.group()
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
        elif mark == b'"':
            break  # a string that is not finished
        if depth <= 0 and token.end() <= following:
            return token.end()
    return following if following <= len(data) else None


def _decode(element: bytes) -> ExportedPlay | BadElement:
    try:
        return _ELEMENT.decode(element)
    except UnicodeDecodeError:
        return BadElement(RejectionReason.ENCODING_INVALID)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        field = found[1] or found[2] if found else ""
        return BadElement(_REASON_OF_FIELD.get(field, RejectionReason.TYPE_INVALID), field)
    except (msgspec.DecodeError, RecursionError):
        return BadElement(RejectionReason.NOT_JSON)
