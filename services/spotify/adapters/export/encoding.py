"""Text encodings of an export's files: UTF-8 as Spotify writes it, and what editors and tools make of it.

A byte-order mark is dropped; UTF-16, marked or recognised by the zero bytes around the opening bracket, is turned into
UTF-8. Anything else passes as it is: an element that is not UTF-8 is rejected where it is decoded, alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

_LONGEST_MARK = 4
_MARKS = (
    (codecs.BOM_UTF8, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text as UTF-8 without a mark. Raises UnicodeDecodeError where UTF-16 is broken, after everything
    before; a file that ends in the middle of a character just ends before it."""
    pieces = iter(chunks)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _LONGEST_MARK:
            break
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", _unmarked(head))
    )
    head = head[len(mark) :]
    if not encoding:
        if head:
            yield head
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for piece in chain((head,), pieces):
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(encoding).encode()
            raise
        if text:
            yield text.encode()


def _unmarked(head: bytes) -> str:
    if len(head) >= 2 and head[0] in b"[ \r\n\t" and head[1] == 0:
        return "utf-16-le"
    if len(head) >= 2 and head[0] == 0 and head[1] in b"[ \r\n\t":
        return "utf-16-be"
    return ""
