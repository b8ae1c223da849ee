"""Contents in the database: numbered by a keyed digest, named under seal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from services.runtime.persistence import Transaction
from services.spotify.adapters.tables import ContentRow
from services.spotify.model import Content, ContentKind
from services.spotify.ports import KnownContents

MAX_KNOWN = 100_000
"""How many numbers an import remembers; enough for almost every listener, bounded for all."""

COLUMNS = ("history", "number", "kind", "artist", "album", "uri_index", "names")

_NAMES = msgspec.msgpack.Decoder(tuple[str, str, str, str])


class SqlContents:
    """The contents of one person's history, within one transaction."""

    def __init__(self, tx: Transaction, history: int, user: str) -> None:
        self._tx = tx
        self._history = history
        self._key = tx.keys.of(user)

    def number(
        self, content: Content, known: KnownContents, fresh: dict[str, int], rows: list[tuple[Any, ...]]
    ) -> int:
        """The number of a content that `known` does not hold; its row joins `rows`, its number `fresh`."""
        key = content.key
        number = fresh.get(key)
        if number is None:
            # In hexadecimal, because the index folds the case of letters, and URIs differ by case alone.
            index = self._key.blind_index(ContentRow.uri_index, key.encode().hex())
            number = fresh[key] = _as_number(index)
            artist = album = None
            if content.kind is ContentKind.TRACK:
                artist = self._named(ContentRow.artist, content.artist, known)
                album = self._named(
                    ContentRow.album, content.album and f"{content.album}\x1f{content.artist}", known
                )
            names = msgspec.msgpack.encode((content.title, content.artist, content.album, content.uri))
            sealed = self._key.seal_at("contents", "names", f"{self._history}/{number}", names)
            rows.append((self._history, number, int(content.kind), artist, album, index, sealed))
        return number

    def store(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows of contents that the history does not have yet."""
        if rows:
            self._tx.bulk_insert(ContentRow, rows, columns=COLUMNS)

    def open(self, numbers: Iterable[int]) -> dict[int, Content]:
        """The contents with these numbers, which must be at most a few thousand."""
        statement = select(ContentRow.number, ContentRow.kind, ContentRow.names).where(
            ContentRow.history == self._history, ContentRow.number.in_(set(numbers))
        )
        found: dict[int, Content] = {}
        for number, kind, sealed in self._tx.session.execute(statement):
            opened = self._key.open_at("contents", "names", f"{self._history}/{number}", sealed)
            title, artist, album, uri = _NAMES.decode(opened)
            found[number] = Content(ContentKind(kind), uri, title, artist, album)
        return found

    def _named(self, column: Any, name: str, known: KnownContents) -> int | None:
        if not name:
            return None
        key = f"{column.key}\x1f{name}"
        number = known.names.get(key)
        if number is None:
            if len(known.names) >= MAX_KNOWN:
                known.names.clear()
            number = known.names[key] = _as_number(self._key.blind_index(column, name))
        return number


def _as_number(index: bytes) -> int:
    """63 bits of a digest: two contents of one person share a number once in 10^10 histories of 40,000 contents."""
    return int.from_bytes(index[:8], "big") >> 1
