"""Access tokens as JWTs signed with Ed25519 (RFC 9068, RFC 8037), through PyJWT."""

from __future__ import annotations

import jwt

from services.auth.model.access_token import TOKEN_TYPE, AccessTokenClaims
from services.auth.model.signing_key import SigningKey


class JwtSigner:
    """The AccessTokenSigner of `ports`."""

    def sign(self, claims: AccessTokenClaims, key: SigningKey) -> str:
        """The compact JWS, with the key's id so that a verifier finds it in the key set."""
        headers = {"typ": TOKEN_TYPE, "kid": key.kid}
        return jwt.encode(claims.as_json(), key.private, algorithm="EdDSA", headers=headers)
