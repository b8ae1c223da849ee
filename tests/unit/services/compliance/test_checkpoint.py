"""Signed checkpoints and the offline verifier built on them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from services.compliance.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointSigner,
    VerifierKey,
    open_checkpoint,
)
from services.compliance.merkle import consistency_proof, inclusion_proof, leaf_hash, node_hash, range_root
from services.compliance.receipts import (
    InclusionProof,
    ReceiptError,
    verify_growth,
    verify_log,
    verify_receipt,
)

SIGNER = CheckpointSigner("polyphony.example/audit", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
KEY = SIGNER.verifier.encode()
LEAVES = [b"record %d" % n for n in range(11)]


def node(level: int, index: int) -> bytes:
    if level == 0:
        return leaf_hash(LEAVES[index])
    return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))


def note(size: int = len(LEAVES), origin: str = "polyphony.example/audit/acme") -> str:
    return SIGNER.sign(Checkpoint(origin, size, range_root(node, 0, size)))


def test_note_has_the_c2sp_form() -> None:
    lines = note().split("\n")
    assert lines[0] == "polyphony.example/audit/acme"
    assert lines[1] == "11"
    assert lines[3] == ""
    assert lines[4].startswith("\u2014 polyphony.example/audit ")
    assert lines[5:] == [""]


def test_key_id_is_the_one_of_the_specification() -> None:
    # The example key of the Go package golang.org/x/mod/sumdb/note.
    key = VerifierKey.decode("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZIn"
        "NIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert key.key_id.hex() == "c74f20a3"
    with pytest.raises(CheckpointError, match="three lines"):  # signed, but no checkpoint
        open_checkpoint(text, key)
    with pytest.raises(CheckpointError, match="does not hold"):
        open_checkpoint(text.replace("answer", "anchor"), key)


@given(
    origin=st.from_regex(r"[a-z0-9./-]{1,40}", fullmatch=True),
    size=st.integers(0, 2**63),
    root=st.binary(min_size=32, max_size=32),
)
def test_signed_then_opened_is_the_same(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert open_checkpoint(SIGNER.sign(checkpoint), SIGNER.verifier) == checkpoint


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    text = note()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.characters(min_codepoint=10, max_codepoint=0x2020).filter(lambda char: char != text[at])
    )
    with pytest.raises(CheckpointError):
        open_checkpoint(text[:at] + other + text[at + 1 :], SIGNER.verifier)


def test_another_signers_line_is_ignored_and_never_enough() -> None:
    stranger = CheckpointSigner("stranger", Ed25519PrivateKey.generate())
    both = note() + stranger.sign(Checkpoint("x", 0, b"\0" * 32)).rpartition("\n\n")[2]
    assert open_checkpoint(both, SIGNER.verifier).size == len(LEAVES)
    with pytest.raises(CheckpointError, match="not signed by"):
        open_checkpoint(note(), stranger.verifier)
    impostor = CheckpointSigner(SIGNER.name, Ed25519PrivateKey.generate())
    with pytest.raises(CheckpointError, match="not signed by"):
        open_checkpoint(note(), impostor.verifier)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_key_names_that_would_break_the_note_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="key name"):
        CheckpointSigner(name, Ed25519PrivateKey.generate())


def receipt(index: int, size: int = len(LEAVES)) -> InclusionProof:
    return InclusionProof(index, inclusion_proof(node, index, size))


def test_receipt_holds() -> None:
    raw = SIGNER.private.public_key().public_bytes_raw()
    named = CheckpointSigner("polyphony/acme", SIGNER.private)
    own = named.sign(Checkpoint("polyphony/acme", 11, range_root(node, 0, 11)))
    assert verify_receipt(LEAVES[4], receipt(4), note(), KEY).size == 11
    assert verify_receipt(LEAVES[4], receipt(4), own, raw).size == 11
    with pytest.raises(ReceiptError, match="not signed by"):  # the right key under another log's name
        verify_receipt(LEAVES[4], receipt(4), note(), raw)
    with pytest.raises(ReceiptError, match="32 bytes"):
        verify_receipt(LEAVES[4], receipt(4), own, raw[:-1])


@pytest.mark.parametrize(
    ("leaf", "proof", "text", "message"),
    [
        (b"forged", receipt(4), note(), "not what the log signed for"),
        (LEAVES[4], receipt(5), note(), "not what the log signed for"),
        (LEAVES[4], receipt(4, 9), note(), "not what the log signed for"),
        (LEAVES[4], receipt(4), note().replace("\n11\n", "\n12\n"), "does not hold"),
        (LEAVES[4], receipt(4), "nonsense", "signed note"),
    ],
)
def test_receipt_that_does_not_hold(leaf: bytes, proof: InclusionProof, text: str, message: str) -> None:
    with pytest.raises(ReceiptError, match=message):
        verify_receipt(leaf, proof, text, KEY)


def test_growth() -> None:
    older, newer = verify_growth(note(7), note(), consistency_proof(node, 7, 11), KEY)
    assert (older.size, newer.size) == (7, 11)
    with pytest.raises(ReceiptError, match="rewritten"):
        verify_growth(note(6), note(), consistency_proof(node, 7, 11), KEY)
    with pytest.raises(ReceiptError, match="two logs"):
        verify_growth(
            note(7), note(origin="polyphony.example/audit/other"), consistency_proof(node, 7, 11), KEY
        )


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ([*LEAVES[:3], b"edited", *LEAVES[4:]], "changed"),
        ([*LEAVES[:3], *LEAVES[4:]], "cut"),
        ([*LEAVES[:3], *LEAVES[4:], b"filler"], "changed"),
        ([LEAVES[1], LEAVES[0], *LEAVES[2:]], "moved"),
        (LEAVES[:-1], "cut: 10 of the 11 records"),
        ([], "cut"),
    ],
)
def test_tampered_logs_are_found(leaves: list[bytes], message: str) -> None:
    with pytest.raises(ReceiptError, match=message):
        verify_log(leaves, note(), KEY)


def test_untouched_logs_verify_at_every_size() -> None:
    for size in range(len(LEAVES) + 1):
        assert verify_log(LEAVES, note(size), KEY).size == size


def test_the_offline_verifier_loads_neither_grpc_nor_sql_nor_generated_code() -> None:
    code = (
        "import sys, services.compliance.receipts;"
        "print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'sqlalchemy', 'polyphony', 'google')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
