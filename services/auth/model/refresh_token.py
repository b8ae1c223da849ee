"""Refresh tokens: opaque to clients, authentic by themselves, and the same for the same place in a family.

A token names its tenant, family and generation and carries a MAC over them under a server key. So a forged
token is refused before any row is read (and cannot end somebody's session by pretending reuse), the tenant
comes out of the credential, and the successor of a token is a function of it: a repeated refresh answers
the same bytes without anything having been stored in clear. The database keeps a keyed hash only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from dataclasses import dataclass

PREFIX = "plr_"
"""Makes a leaked token recognisable to secret scanners."""

_BODY = struct.Struct(">16s16sI")
_MAC_SIZE = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The place of a token: which tenant, which family, and the how-manieth of it."""

    tenant: str
    family: str
    generation: int

    def successor(self) -> RefreshToken:
        """The token that this one is exchanged for."""
        return RefreshToken(self.tenant, self.family, self.generation + 1)


class RefreshTokenCodec:
    """Writes, reads and hashes refresh tokens under one server key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        """Derives separate keys for tokens and for stored hashes, so that neither reveals the other."""
        if len(key) < 32:
            raise ValueError("a refresh-token key has at least 32 bytes")
        self._mac_key = hmac.digest(key, b"polyphony refresh token mac v1", "sha256")
        self._hash_key = hmac.digest(key, b"polyphony refresh token hash v1", "sha256")

    def write(self, token: RefreshToken) -> str:
        """The text a client holds. The same token always gives the same text."""
        body = _BODY.pack(uuid.UUID(token.tenant).bytes, uuid.UUID(token.family).bytes, token.generation)
        raw = body + hmac.digest(self._mac_key, body, hashlib.sha256)
        return PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

    def read(self, text: str) -> RefreshToken | None:
        """The token that `text` is, or None when this server never wrote it."""
        if not text.startswith(PREFIX):
            return None
        encoded = text[len(PREFIX) :]
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = raw[: _BODY.size], raw[_BODY.size :]
        if len(raw) != _BODY.size + _MAC_SIZE:
            return None
        if not hmac.compare_digest(mac, hmac.digest(self._mac_key, body, hashlib.sha256)):
            return None
        tenant, family, generation = _BODY.unpack(body)
        token = RefreshToken(str(uuid.UUID(bytes=tenant)), str(uuid.UUID(bytes=family)), generation)
        # base64 has unused bits at its end: one token, one spelling.
        return token if hmac.compare_digest(self.write(token), text) else None

    def hash(self, token: RefreshToken) -> bytes:
        """What the database keeps in place of the token."""
        return hmac.digest(self._hash_key, self.write(token).encode("ascii"), hashlib.sha256)
