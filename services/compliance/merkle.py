"""The Merkle tree of the audit log, as RFC 9162 section 2.1 (and RFC 6962 before it) defines it.

Pure arithmetic over hashes: no storage, no protobuf, no network. The same file proves (on the server)
and verifies (in the offline verifier), so the two cannot drift apart. Leaves and inner nodes are hashed
under different prefixes, without which an inner node could be presented as a leaf.

A perfect subtree is named by ``(level, index)``: it covers leaves ``index << level`` up to, and without,
``(index + 1) << level``. Perfect subtrees never change once they are full, so they are what is stored;
everything else is derived from at most O(log n) of them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence

HASH_SIZE = 32
"""Bytes in one hash."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a log without leaves (RFC 9162, 2.1.1)."""

NodeReader = Callable[[int, int], bytes]
"""Answers the hash of the perfect subtree ``(level, index)``."""


class ProofError(ValueError):
    """A proof, a root or a size does not fit: what was claimed is not what the tree says."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf: SHA-256 of 0x00 and its bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of 0x01 and its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that cover leaves ``start`` up to ``end``, from left to right.

    ``start`` must be aligned as in the RFC's own recursion: a multiple of a power of two that is not smaller
    than the range.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def range_root(read: NodeReader, start: int, end: int) -> bytes:
    """Root over leaves ``start`` up to ``end`` (aligned as above), reading O(log n) nodes."""
    nodes = [read(level, index) for level, index in perfect_subtrees(start, end)]
    if not nodes:
        return EMPTY_ROOT
    root = nodes.pop()
    while nodes:
        root = node_hash(nodes.pop(), root)
    return root


def inclusion_proof(read: NodeReader, index: int, size: int) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (RFC 9162, 2.1.3.1), leaf upwards.

    Raises :class:`ProofError` when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(read, middle, end))
            end = middle
        else:
            path.append(range_root(read, start, middle))
            start = middle
    path.reverse()
    return path


def consistency_proof(read: NodeReader, first: int, second: int) -> list[bytes]:
    """Proof that the tree of ``first`` leaves is a prefix of the tree of ``second`` (RFC 9162, 2.1.4.1).

    Empty for equal sizes. Raises :class:`ProofError` for a size of 0 or ``first > second``: every tree
    begins with the empty one, so such a proof would say nothing.
    """
    if not 0 < first <= second:
        raise ProofError(f"no consistency proof leads from {first} to {second} leaves")
    path: list[bytes] = []
    start, end = 0, second
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(range_root(read, middle, end))
            end = middle
        else:
            path.append(range_root(read, start, middle))
            start = middle
    if start > 0:  # the first tree's own last part is not its whole, so the verifier cannot know it
        path.append(range_root(read, start, end))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that the leaf with hash ``leaf`` stands at ``index`` of the tree of ``size`` under ``root``.

    RFC 9162, 2.1.3.2. Raises :class:`ProofError` otherwise.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    _check_hashes(leaf, *proof)
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofError("the inclusion proof is too short")
    _check_root(computed, root)


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Checks that the tree of ``second`` leaves begins with the whole tree of ``first``.

    RFC 9162, 2.1.4.2. Raises :class:`ProofError` otherwise.
    """
    if not 0 < first <= second:
        raise ProofError(f"no consistency proof leads from {first} to {second} leaves")
    if first == second:
        if proof:
            raise ProofError("a consistency proof between equal sizes must be empty")
        _check_root(first_root, second_root)
        return
    _check_hashes(*proof)
    path = list(proof)
    if first & (first - 1) == 0:  # a perfect tree is its own first node, so the proof leaves it out
        path.insert(0, first_root)
    if not path:
        raise ProofError("the consistency proof is empty")
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofError("the consistency proof is too short")
    _check_root(old, first_root)
    _check_root(new, second_root)


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise ProofError(f"every hash of a proof has {HASH_SIZE} bytes")


def _check_root(computed: bytes, claimed: bytes) -> None:
    if not hmac.compare_digest(computed, claimed):
        raise ProofError("the proof leads to another root than the one claimed")
