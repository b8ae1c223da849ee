"""Signing keys: thumbprints, who signs, and what stays published."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from services.auth.model.signing_key import KeyTerms, SigningKey, public_jwk, published, signer

START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = KeyTerms(lead=timedelta(minutes=10), lifetime=timedelta(minutes=15))
PRIVATE = Ed25519PrivateKey.generate()


def key(name: str, minutes: float) -> SigningKey:
    return SigningKey(name, START + timedelta(minutes=minutes), PRIVATE)


def test_the_thumbprint_is_that_of_rfc_8037_appendix_a_3() -> None:
    raw = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    jwk = public_jwk(Ed25519PublicKey.from_public_bytes(raw))
    assert jwk.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert jwk.x == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_the_first_key_signs_at_once() -> None:
    assert signer([key("a", 0)], START, TERMS).kid == "a"


def test_no_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="no signing key"):
        signer([], START, TERMS)


def test_a_rotation_overlaps_at_both_ends() -> None:
    keys = [key("new", 60), key("old", 0)]
    seen = []
    for minute in (60, 69, 70, 84, 85):
        now = START + timedelta(minutes=minute)
        seen.append((signer(keys, now, TERMS).kid, [k.kid for k in published(keys, now, TERMS)]))
    assert seen == [
        ("old", ["old", "new"]),
        ("old", ["old", "new"]),
        ("new", ["old", "new"]),
        ("new", ["old", "new"]),
        ("new", ["new"]),
    ]


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True), st.integers(0, 300), st.floats(0, 15)
)
def test_whatever_signed_a_live_token_is_published(ages: list[int], at: int, later: float) -> None:
    now = START + timedelta(minutes=at)
    keys = [key(f"k{age}", age) for age in ages if age <= at] or [key("k", 0)]
    signed_by = signer(keys, now, TERMS)
    then = now + min(timedelta(minutes=later), TERMS.lifetime - timedelta(microseconds=1))
    # Keys may be added meanwhile; the token must verify until it expires.
    keys += [key(f"n{age}", age) for age in ages if now < START + timedelta(minutes=age) <= then]
    assert signed_by in published(keys, then, TERMS)
