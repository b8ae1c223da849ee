"""How a service proves to another one who it is, and for whom it acts.

Each service has an Ed25519 key. It signs short tokens in the shape of RFC 8693: `sub` is the person it acts for,
`act.sub` the service itself, `purpose` what for. Verifiers know the public keys from auth's key set, where their ids
begin with `service:<name>:`, so that no service can speak as another one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.runtime.settings import read_secret

TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type (RFC 9068 2.1)
NO_TENANT = "-"
LIFETIME_SECONDS = 300
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Behalf:
    """For whom and what for a service calls another one; empty fields where it calls for itself."""

    tenant: str = NO_TENANT
    user: str = ""
    purpose: str = ""


ITSELF = Behalf()
"""A service that calls for nobody: feeds, the audit relay, keys."""


class ServiceIdentity:
    """The identity of service `name`; `token` makes what `authorization: Bearer` carries."""

    def __init__(self, name: str, key: Ed25519PrivateKey, *, audience: str) -> None:
        self.name = name
        self.subject = f"service:{name}"
        self._key = key
        self._audience = audience
        x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
        self.kid = f"{self.subject}:{thumbprint}"
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA"}
        """The public key as RFC 7517 and RFC 8037 publish it; the id ends in its RFC 7638 thumbprint."""
        self._tokens: dict[Behalf, tuple[float, str]] = {}

    @classmethod
    def from_file(cls, name: str, path: Path, *, audience: str) -> Self:
        """Read a PKCS #8 PEM file. Raises `FileNotFoundError`; `ValueError` for another kind of key or open modes."""
        key = load_pem_private_key(read_secret(path), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key")
        return cls(name, key, audience=audience)

    def token(self, behalf: Behalf = ITSELF) -> str:
        """A token for calls on `behalf` of somebody; the same one is given out for half of its minute, so that the
        callee's cache of verified tokens works and no signature is made per call."""
        now = time.time()
        kept = self._tokens.get(behalf)
        if kept is not None and now < kept[0]:
            return kept[1]
        if len(self._tokens) >= _KEPT:
            self._tokens.clear()
        claims: dict[str, object] = {
            "iss": self.subject,
            "aud": self._audience,
            "sub": behalf.user or self.subject,
            "act": {"sub": self.subject},
            "tenant": behalf.tenant,
            "roles": ["service"],
            "iat": int(now),
            "exp": int(now) + LIFETIME_SECONDS,
        }
        if behalf.purpose:
            claims["purpose"] = behalf.purpose
        token = jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": TOKEN_TYPE, "kid": self.kid})
        self._tokens[behalf] = (now + LIFETIME_SECONDS / 2, token)
        return token
