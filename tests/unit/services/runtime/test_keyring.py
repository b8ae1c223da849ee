"""Key files are private, wrapped keys stay in their row, memory of keys is bounded."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.keyring import KeyFileError, Keyring, SealBrokenError, bind_parts


def test_a_made_file_is_read_and_private(tmp_path: Path) -> None:
    path = tmp_path / "shelf.kek"
    Keyring.create_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keyring.from_file(path).current == Keyring.from_file(path).current
    with pytest.raises(FileExistsError):
        Keyring.create_file(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "shelf.kek"
    Keyring.create_file(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Keyring.from_file(path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_file_of_the_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "shelf.kek"
    path.touch(mode=0o600)
    path.write_bytes(os.urandom(size))
    with pytest.raises(KeyFileError, match="32 bytes"):
        Keyring.from_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"shelf\.kek"):
        Keyring.from_file(tmp_path / "shelf.kek")


def test_a_wrapped_key_belongs_to_one_person() -> None:
    keyring = Keyring([os.urandom(32)])
    wrapped = keyring.wrap(b"k" * 32, "a", "u")
    assert keyring.unwrap(wrapped, keyring.current, "a", "u") == b"k" * 32
    for tenant, subject in (("b", "u"), ("a", "v"), ("", "au"), ("au", "")):
        with pytest.raises(SealBrokenError):
            keyring.unwrap(wrapped, keyring.current, tenant, subject)
    keyring.data_key(wrapped, keyring.current, "a", "u")
    with pytest.raises(SealBrokenError):  # nor does memory forget whose it is
        keyring.data_key(wrapped, keyring.current, "a", "v")


def test_a_retired_key_unwraps_and_a_lost_one_is_named() -> None:
    old, new = os.urandom(32), os.urandom(32)
    before = Keyring([old])
    wrapped = before.wrap(b"k" * 32, "a", "u")
    assert Keyring([new, old]).unwrap(wrapped, before.current, "a", "u") == b"k" * 32
    with pytest.raises(KeyFileError, match=before.current):
        Keyring([new]).unwrap(wrapped, before.current, "a", "u")


def test_memory_of_unwrapped_keys_is_bounded() -> None:
    keyring = Keyring([os.urandom(32)], capacity=10)
    for number in range(50):
        keyring.data_key(keyring.wrap(b"k" * 32, "a", str(number)), keyring.current, "a", str(number))
    assert len(keyring._unwrapped) == 10


def test_derived_keys_differ_by_purpose_and_key() -> None:
    one, other = Keyring([b"1" * 32]), Keyring([b"2" * 32])
    assert one.derive("x") == Keyring([b"1" * 32]).derive("x")
    assert len({one.derive("x"), one.derive("y"), other.derive("x")}) == 3


parts = st.lists(st.text(max_size=4), max_size=5)


@given(parts, parts)
def test_parts_are_bound_without_ambiguity(one: list[str], other: list[str]) -> None:
    assert (bind_parts(*one) == bind_parts(*other)) == (one == other)
