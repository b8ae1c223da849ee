"""Reading access tokens strictly: JWTs signed with Ed25519, as RFC 9068 shapes them and RFC 8725 (BCP) demands.

What PyJWT accepts for the sake of the world is narrowed to what this mesh issues: one algorithm, one type, canonical
base64url, no header that could bring a key along, no duplicate members, no claim of another kind than expected.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from interceptors.faults import Fault
from interceptors.identity import Identity
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from services.runtime.persistence.entities import SYSTEM

LEEWAY_SECONDS = 5
"""How far two clocks of the mesh may be apart."""
MAX_TOKEN_CHARACTERS = 4096
MAX_SERVICE_TOKEN_SECONDS = 300
_SERVICE = "service:"
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TEXTS = (("sub", 128), ("tenant", 64))
"""Claims that are text, and the most characters that a database keeps of each."""
_HEADER_MEMBERS = {"alg", "typ", "kid"}


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """Whose tokens are accepted: the issuer of people's tokens, and the audience that every token must name."""

    issuer: str
    audience: str


def invalid(why: str) -> Fault:
    """The refusal of a token; `why` is about its form and never quotes it."""
    return Fault(reason_pb2.REASON_CREDENTIAL_INVALID, f"The access token {why}.")


def key_id(token: str) -> str:
    """The id of the key said to have signed `token`. Raises Fault CREDENTIAL_INVALID for what is no token of ours.

    Nothing of what is read here is believed before the signature is verified.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise invalid("is not a compact JWS")
    segments = token.split(".")
    header = _object(_decode(segments[0]))
    for segment in segments[1:]:
        _decode(segment)
    if header.keys() != _HEADER_MEMBERS:
        raise invalid("has a header with other members than alg, typ and kid")
    if header["alg"] != "EdDSA" or header["typ"] != "at+jwt" or not isinstance(header["kid"], str):
        raise invalid("is not signed with EdDSA as an access token")
    return header["kid"]


def identity_of(token: str, kid: str, key: Ed25519PublicKey, terms: TokenTerms) -> Identity:
    """The identity that a token asserts, once `key` (the one called `kid`) has verified it.

    Raises Fault CREDENTIAL_EXPIRED, or CREDENTIAL_INVALID for everything else that is wrong with it.
    """
    of_service = kid.startswith(_SERVICE)
    issuer = kid.rpartition(":")[0] if of_service else terms.issuer
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience=terms.audience,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "sub", "iat", "exp", "tenant", "roles"], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise Fault(reason_pb2.REASON_CREDENTIAL_EXPIRED) from None
    except jwt.InvalidTokenError:
        raise invalid("was not signed by a key of this mesh, or not for it") from None
    payload = _object(_decode(token.split(".")[1]))
    if payload != claims or not _well_formed(claims):
        raise invalid("has claims that are malformed")
    return _service_identity(claims, issuer) if of_service else _user_identity(claims)


def _user_identity(claims: Mapping[str, Any]) -> Identity:
    session = claims.get("sid")
    if not isinstance(session, str) or not session or "act" in claims or claims["sub"].startswith(_SERVICE):
        raise invalid("has claims that no person's token has")
    return Identity(
        credential=policy_pb2.CREDENTIAL_USER,
        tenant=claims["tenant"],
        user=claims["sub"],
        session=session,
        roles=tuple(claims["roles"]),
        expires=float(claims["exp"]),
    )


def _service_identity(claims: Mapping[str, Any], issuer: str) -> Identity:
    """A service may say for whom it acts, but not which roles it has: it has the role `service`, always."""
    subject, actor, purpose = claims["sub"], claims.get("act"), claims.get("purpose", "")
    for_itself = subject.startswith(_SERVICE)
    if actor != {"sub": issuer} or (for_itself and subject != issuer) or not isinstance(purpose, str):
        raise invalid("is one service's and speaks as another")
    if claims["exp"] - claims["iat"] > MAX_SERVICE_TOKEN_SECONDS:
        raise invalid("of a service lives longer than a service's token may")
    return Identity(
        credential=policy_pb2.CREDENTIAL_SERVICE,
        tenant=claims["tenant"],
        user=subject,
        roles=("service",),
        actor="" if for_itself else issuer,
        purpose=purpose,
        expires=float(claims["exp"]),
    )


def _well_formed(claims: Mapping[str, Any]) -> bool:
    texts = all(isinstance(claims[name], str) and 0 < len(claims[name]) <= most for name, most in _TEXTS)
    times = all(type(claims[name]) is int for name in ("iat", "exp"))
    roles = claims["roles"]
    roles_are_texts = (
        isinstance(roles, list) and len(roles) <= 64 and all(isinstance(role, str) for role in roles)
    )
    scoped = claims["tenant"] != SYSTEM
    return texts and scoped and times and roles_are_texts and claims["iat"] <= time.time() + LEEWAY_SECONDS


def _decode(segment: str) -> bytes:
    """Base64url without padding, refusing what decodes to bytes that encode differently (RFC 4648 3.5)."""
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError):
        raise invalid("is not base64url") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != segment:
        raise invalid("is not canonical base64url")
    return decoded


def _object(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("duplicate member")
        return members

    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise invalid("is not JSON with unique members") from None
    if not isinstance(found, dict):
        raise invalid("is not a JSON object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
