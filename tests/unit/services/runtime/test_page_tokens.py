"""Page tokens open to what was sealed, and no changed or invented token opens."""

import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence.pages import PageTokens

TOKENS = PageTokens(os.urandom(32))
SCOPE = {"tenant": "a", "method": "/s/List"}

values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.booleans(),
    st.floats(allow_nan=False),
    st.integers(-(2**50), 2**50).map(
        lambda us: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    ),
)


@given(st.lists(values, max_size=5))
def test_a_position_comes_back_as_it_was(position: list[object]) -> None:
    assert TOKENS.open(TOKENS.seal(position, **SCOPE), **SCOPE) == position


@given(st.text(max_size=200))
def test_an_invented_token_is_refused(token: str) -> None:
    with pytest.raises(Fault) as caught:
        TOKENS.open(token, **SCOPE)
    assert caught.value.reason == reason_pb2.REASON_PAGE_TOKEN_INVALID


@given(st.integers(0, 1000), st.integers(1, 255))
def test_a_changed_token_is_refused(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TOKENS.seal(["x", 1], **SCOPE) + "=="))
    raw[place % len(raw)] ^= change
    with pytest.raises(Fault):
        TOKENS.open(base64.urlsafe_b64encode(raw).decode().rstrip("="), **SCOPE)


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_two_lists_of_bound_fields_are_two_scopes(one: list[str], other: list[str]) -> None:
    token = TOKENS.seal([1], bound=one, **SCOPE)
    if one == other:
        assert TOKENS.open(token, bound=other, **SCOPE) == [1]
    else:
        with pytest.raises(Fault):
            TOKENS.open(token, bound=other, **SCOPE)


def test_a_token_shows_nothing_of_the_position() -> None:
    assert b"secret" not in TOKENS.seal(["secret"], **SCOPE).encode()
    assert TOKENS.seal([1], **SCOPE) != TOKENS.seal([1], **SCOPE)
