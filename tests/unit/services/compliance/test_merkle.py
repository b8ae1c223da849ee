"""The Merkle arithmetic against the public vectors and against the recursion of the RFC, written naively."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.compliance import merkle
from services.compliance.merkle import ProofError
from services.compliance.tiles import TiledTree


class MemoryTiles:
    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.reads = 0

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.tiles.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self.tiles[level, index] = hashes


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def tree_of(leaves: list[bytes], cuts: list[int] | None = None) -> TiledTree:
    store = MemoryTiles()
    edges = sorted({0, len(leaves), *(cut for cut in cuts or [] if cut <= len(leaves))})
    for start, end in itertools.pairwise(edges):
        TiledTree(store).append(start, [merkle.leaf_hash(leaf) for leaf in leaves[start:end]])
    return TiledTree(store)


def numbered(count: int) -> list[bytes]:
    return [b"record %d" % n for n in range(count)]


@given(size=st.integers(0, 700), cuts=st.lists(st.integers(0, 700), max_size=5))
def test_root_is_the_same_however_the_appends_were_batched(size: int, cuts: list[int]) -> None:
    leaves = numbered(size)
    assert tree_of(leaves, cuts).root(size) == naive_root(leaves)


@given(st.data())
def test_inclusion_proofs_equal_the_rfc_and_verify(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 600))
    at = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, at - 1))
    leaves = numbered(size)
    proof = merkle.inclusion_proof(tree_of(leaves).node, index, at)
    assert proof == naive_path(index, leaves[:at])
    merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, at, proof, naive_root(leaves[:at]))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(merkle.leaf_hash(b"another"), index, at, proof, naive_root(leaves[:at]))
    other = data.draw(st.integers(0, at - 1).filter(lambda n: n != index) if at > 1 else st.just(at))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), other, at, proof, naive_root(leaves[:at]))


@given(st.data())
def test_consistency_proofs_equal_the_rfc_and_verify(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 600))
    first = data.draw(st.integers(1, second))
    leaves = numbered(second)
    proof = merkle.consistency_proof(tree_of(leaves).node, first, second)
    assert proof == naive_subproof(first, leaves, True)
    roots = naive_root(leaves[:first]), naive_root(leaves)
    merkle.verify_consistency(first, second, *roots, proof)
    rewritten = [b"forged", *leaves[1:]]
    with pytest.raises(ProofError):
        merkle.verify_consistency(first, second, roots[0], naive_root(rewritten), proof)


def test_small_trees_exhaustively() -> None:
    for size in range(1, 18):
        leaves = numbered(size)
        node = tree_of(leaves).node
        for first in range(1, size + 1):
            assert merkle.consistency_proof(node, first, size) == naive_subproof(first, leaves, True)
        for index in range(size):
            assert merkle.inclusion_proof(node, index, size) == naive_path(index, leaves)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_for_impossible_sizes(first: int, second: int) -> None:
    with pytest.raises(ProofError):
        merkle.consistency_proof(tree_of(numbered(3)).node, first, second)


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_no_inclusion_proof_for_an_absent_leaf(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        merkle.inclusion_proof(tree_of(numbered(3)).node, index, size)


def test_a_leaf_cannot_pose_as_a_node() -> None:
    left, right = merkle.leaf_hash(b"l"), merkle.leaf_hash(b"r")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_a_proof_in_ten_million_leaves_reads_few_tiles() -> None:
    size = 10_000_019
    store = MemoryTiles()
    width, level = size, 0
    while width:  # every hash alike: what counts is how much is read
        for index in range(-(-width // 256)):
            store.tiles[level, index] = b"\0" * 32 * min(256, width - 256 * index)
        width, level = width // 256, level + 1
    merkle.inclusion_proof(TiledTree(store).node, 7_654_321, size)
    assert store.reads <= 8
    store.reads = 0
    merkle.consistency_proof(TiledTree(store).node, 1_234_567, size)
    assert store.reads <= 12


def test_a_damaged_tile_is_named_not_hashed() -> None:
    store = MemoryTiles()
    TiledTree(store).append(0, [merkle.leaf_hash(leaf) for leaf in numbered(300)])
    store.tiles[0, 1] = store.tiles[0, 1][:-32]
    with pytest.raises(LookupError, match="tile 0/1"):
        TiledTree(store).root(300)
    with pytest.raises(LookupError, match="tile 0/1"):
        TiledTree(store).append(300, [merkle.leaf_hash(b"x")])


def shared_vectors(name: str) -> list[tuple[str, dict[str, Any]]]:
    path = Path(os.environ.get("POLYPHONY_SHARED", "../shared")) / "vectors" / f"rfc6962_{name}.json"
    if not path.exists():
        return []
    cases = list(json.loads(path.read_text()).items())
    assert len(cases) == 98, "the public suite has 98 cases"
    return cases


def decoded(values: list[str] | None) -> list[bytes]:
    return [base64.b64decode(value) for value in values or []]


def run_cases(cases: list[tuple[str, dict[str, Any]]], check: Any) -> list[str]:
    wrong = []
    for name, case in cases:
        try:
            check(case)
            refused = False
        except ProofError:
            refused = True
        if refused != case["wantErr"]:
            wrong.append(name)
    return wrong


def test_public_inclusion_vectors() -> None:
    cases = shared_vectors("inclusion")
    if not cases:
        pytest.skip("rfc6962_inclusion.json is absent: point POLYPHONY_SHARED at its folder")

    def check(case: dict[str, Any]) -> None:
        leaf, root = base64.b64decode(case["leafHash"]), base64.b64decode(case["root"])
        merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], decoded(case["proof"]), root)

    assert run_cases(cases, check) == []


def test_public_consistency_vectors() -> None:
    cases = shared_vectors("consistency")
    if not cases:
        pytest.skip("rfc6962_consistency.json is absent: point POLYPHONY_SHARED at its folder")

    def check(case: dict[str, Any]) -> None:
        roots = base64.b64decode(case["root1"]), base64.b64decode(case["root2"])
        merkle.verify_consistency(case["size1"], case["size2"], *roots, decoded(case["proof"]))

    assert run_cases(cases, check) == []
