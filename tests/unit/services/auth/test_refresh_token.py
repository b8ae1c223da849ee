"""Refresh tokens: authentic, deterministic, one spelling each."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.model.refresh_token import PREFIX, RefreshToken, RefreshTokenCodec

CODEC = RefreshTokenCodec(b"k" * 32)
TOKEN = RefreshToken(str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), 7)


@given(st.uuids(), st.uuids(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(tenant: uuid.UUID, family: uuid.UUID, generation: int) -> None:
    token = RefreshToken(str(tenant), str(family), generation)
    assert CODEC.read(CODEC.write(token)) == token


def test_the_successor_is_the_same_every_time_and_another_token() -> None:
    assert CODEC.write(TOKEN.successor()) == CODEC.write(TOKEN.successor()) != CODEC.write(TOKEN)


@given(st.integers(0, len(CODEC.write(TOKEN)) - 1), st.characters(max_codepoint=127))
def test_no_other_spelling_is_accepted(position: int, character: str) -> None:
    text = CODEC.write(TOKEN)
    changed = text[:position] + character + text[position + 1 :]
    assert CODEC.read(changed) is None or changed == text


@pytest.mark.parametrize(
    "text", ["", PREFIX, "abc", PREFIX + "AA", "ä", PREFIX + "ä" * 90, CODEC.write(TOKEN) + "="]
)
def test_anything_else_is_refused(text: str) -> None:
    assert CODEC.read(text) is None


def test_another_servers_token_is_refused() -> None:
    assert RefreshTokenCodec(b"x" * 32).read(CODEC.write(TOKEN)) is None


def test_the_stored_hash_needs_the_key_and_is_not_the_token() -> None:
    assert CODEC.hash(TOKEN) != RefreshTokenCodec(b"x" * 32).hash(TOKEN)
    assert CODEC.hash(TOKEN).hex() not in CODEC.write(TOKEN)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RefreshTokenCodec(b"short")
