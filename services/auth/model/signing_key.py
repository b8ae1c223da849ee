"""Signing keys: which one signs, and which ones verifiers must still know.

Rotation overlaps. A new key is published for a while before it signs, so that every verifier has fetched
it; an old key stays published until the last token it signed has expired. Both follow from the keys' ages
alone, so that any number of auth processes that see the same keys agree without talking to each other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key that signs access tokens. `kid` is its RFC 7638 thumbprint."""

    kid: str
    created_at: datetime
    private: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class PublicJwk:
    """A public key as RFC 7517 and RFC 8037 publish it: `x` is base64url without padding."""

    kid: str
    x: str


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """`lead`: how long a key is published before it signs. `lifetime`: how long a token lives."""

    lead: timedelta
    lifetime: timedelta


def public_jwk(public: Ed25519PublicKey, *, prefix: str = "") -> PublicJwk:
    """The JWK of a public key; its id is `prefix` and the thumbprint of RFC 7638 section 3."""
    x = _base64url(public.public_bytes_raw())
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    return PublicJwk(prefix + _base64url(hashlib.sha256(members.encode()).digest()), x)


def signer(keys: Sequence[SigningKey], now: datetime, terms: KeyTerms) -> SigningKey:
    """The key that signs at `now`: the newest that has been published long enough, else the oldest.

    Raises ValueError when there is no key at all.
    """
    if not keys:
        raise ValueError("there is no signing key")
    ordered = sorted(keys, key=lambda key: (key.created_at, key.kid))
    ready = [key for key in ordered if now - key.created_at >= terms.lead]
    return ready[-1] if ready else ordered[0]


def published(keys: Sequence[SigningKey], now: datetime, terms: KeyTerms) -> list[SigningKey]:
    """The keys a verifier must know at `now`, oldest first: all but those whose last token has expired."""
    ordered = sorted(keys, key=lambda key: (key.created_at, key.kid))
    kept = []
    for key, newer in zip(ordered, [*ordered[1:], None], strict=True):
        # `newer` takes over at created_at + lead; the last token of `key` expires one lifetime later.
        if newer is None or now < newer.created_at + terms.lead + terms.lifetime:
            kept.append(key)
    return kept


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
