"""How the Merkle tree is stored: tiles of up to 256 hashes (the layout of C2SP tlog-tiles).

Tile ``(level, index)`` holds the hashes of 256 adjacent perfect subtrees of height ``8 * level``, starting
with number ``256 * index``. One hash per leaf is stored, plus 1/255 of that for the levels above; the seven
levels between two tile levels are recomputed. An append of any length rewrites the right edge only, and an
inclusion proof in a log of ten million leaves reads at most eight tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.compliance.merkle import HASH_SIZE, node_hash, range_root

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class TileStore(Protocol):
    """Where the tiles of one log lie."""

    def read(self, level: int, index: int) -> bytes:
        """The hashes in the tile, concatenated; empty when nobody wrote it."""
        ...

    def write(self, level: int, index: int, hashes: bytes) -> None:
        """Puts the tile in place of what was there."""
        ...


class TiledTree:
    """One log's tree over a store of tiles. Not safe for two writers: the caller holds the log's lock."""

    def __init__(self, store: TileStore) -> None:
        self._store = store
        self._cache: dict[tuple[int, int], bytes] = {}

    def append(self, size: int, leaf_hashes: Sequence[bytes]) -> int:
        """Adds leaves to the tree of ``size`` leaves; returns the new size."""
        position, hashes, level = size, list(leaf_hashes), 0
        while hashes:
            position, hashes = self._append_level(level, position, hashes)
            level += 1
        return size + len(leaf_hashes)

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        return range_root(self.node, 0, size)

    def node(self, level: int, index: int) -> bytes:
        """The hash of the perfect subtree ``(level, index)``; serves as a ``NodeReader``.

        Raises :class:`LookupError` when the stored tile is shorter than the tree it belongs to.
        """
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile_index, offset = divmod(first, TILE_WIDTH)
        width = 1 << height
        tile = self._tile(tile_level, tile_index)[offset * HASH_SIZE : (offset + width) * HASH_SIZE]
        if len(tile) != width * HASH_SIZE:
            raise LookupError(f"tile {tile_level}/{tile_index} of the log is damaged: it is too short")
        return _fold(tile)

    def _append_level(self, level: int, position: int, hashes: list[bytes]) -> tuple[int, list[bytes]]:
        """Writes one level from ``position`` on; returns where the level above continues, and with what."""
        above_position, above = position >> TILE_HEIGHT, []
        taken = 0
        while taken < len(hashes):
            tile_index, offset = divmod(position, TILE_WIDTH)
            chunk = hashes[taken : taken + TILE_WIDTH - offset]
            kept = self._tile(level, tile_index)[: offset * HASH_SIZE] if offset else b""
            if len(kept) != offset * HASH_SIZE:
                raise LookupError(f"tile {level}/{tile_index} of the log is damaged: it is too short")
            tile = kept + b"".join(chunk)
            self._store.write(level, tile_index, tile)
            self._cache[level, tile_index] = tile
            if offset + len(chunk) == TILE_WIDTH:
                above.append(_fold(tile))
            taken += len(chunk)
            position += len(chunk)
        return above_position, above

    def _tile(self, level: int, index: int) -> bytes:
        tile = self._cache.get((level, index))
        if tile is None:
            tile = self._cache[level, index] = self._store.read(level, index)
        return tile


def _fold(tile: bytes) -> bytes:
    """The root over a power-of-two run of concatenated hashes."""
    row = [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]
