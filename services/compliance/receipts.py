"""The offline verifier: is this audit record in the log that the operator signed for?

Needs the record's stored bytes, a proof, a checkpoint and the operator's public key, and nothing else: no
network, no database, no generated code. An auditor can copy this file, ``merkle.py`` and ``checkpoint.py``
and run them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.compliance.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from services.compliance.merkle import (
    EMPTY_ROOT,
    ProofError,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Where a leaf stands in the tree, and the sibling hashes from it up to the root (RFC 9162, 2.1.3)."""

    index: int
    hashes: Sequence[bytes]


PublicKey = bytes | str | VerifierKey
"""32 bytes of Ed25519, the ``vkey`` form, or a key that was read already."""


class ReceiptError(ValueError):
    """The receipt does not hold; the message says which part of it."""


def verify_receipt(
    leaf: bytes, proof: InclusionProof, checkpoint_note: str, public_key: PublicKey
) -> Checkpoint:
    """Checks one record against a signed checkpoint and returns that checkpoint.

    ``leaf`` is the record exactly as the log stored it. ``public_key`` is the operator's key: 32 bytes of Ed25519,
    or the ``vkey`` form. Raises :class:`ReceiptError` when the signature or the path does not hold.
    """
    checkpoint = _open(checkpoint_note, public_key)
    try:
        verify_inclusion(leaf_hash(leaf), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    except ProofError as error:
        raise ReceiptError(f"the record is not what the log signed for: {error}") from None
    return checkpoint


def verify_growth(
    older_note: str, newer_note: str, hashes: Sequence[bytes], public_key: PublicKey
) -> tuple[Checkpoint, Checkpoint]:
    """Checks that the log of the newer checkpoint begins with the whole log of the older one.

    Raises :class:`ReceiptError` when history was rewritten between them, or the two are of different logs.
    """
    older, newer = _open(older_note, public_key), _open(newer_note, public_key)
    if older.origin != newer.origin:
        raise ReceiptError(f"the checkpoints are of two logs, {older.origin!r} and {newer.origin!r}")
    try:
        verify_consistency(older.size, newer.size, older.root, newer.root, hashes)
    except ProofError as error:
        raise ReceiptError(f"the log's history was rewritten: {error}") from None
    return older, newer


def verify_log(leaves: Iterable[bytes], checkpoint_note: str, public_key: PublicKey) -> Checkpoint:
    """Rebuilds the whole log from its stored records, in order, and compares it with the signed root.

    Finds any record that was changed, removed, inserted, moved or cut off. Records after the checkpoint's
    size are not covered by it and are ignored. Raises :class:`ReceiptError`.
    """
    checkpoint = _open(checkpoint_note, public_key)
    subtrees: list[tuple[int, bytes]] = []  # (height, root), heights falling: the right edge of the tree
    count = 0
    for leaf in leaves:
        if count == checkpoint.size:
            break
        count += 1
        height, value = 0, leaf_hash(leaf)
        while subtrees and subtrees[-1][0] == height:
            value = node_hash(subtrees.pop()[1], value)
            height += 1
        subtrees.append((height, value))
    if count < checkpoint.size:
        raise ReceiptError(f"the log was cut: {count} of the {checkpoint.size} records signed for are left")
    root = subtrees.pop()[1] if subtrees else EMPTY_ROOT
    while subtrees:
        root = node_hash(subtrees.pop()[1], root)
    if root != checkpoint.root:
        raise ReceiptError("a record was changed, removed, inserted or moved: the root is not the signed one")
    return checkpoint


def _open(note: str, public_key: PublicKey) -> Checkpoint:
    try:
        if isinstance(public_key, bytes):
            # A log signs under its own name, the first line of what it signed; the signature covers that line.
            key = VerifierKey.from_bytes(note.partition("\n")[0], public_key)
        else:
            key = VerifierKey.decode(public_key) if isinstance(public_key, str) else public_key
        return open_checkpoint(note, key)
    except CheckpointError as error:
        raise ReceiptError(str(error)) from None
