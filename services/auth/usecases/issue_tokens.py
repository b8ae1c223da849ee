"""Hand out the two tokens of a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from interceptors.ids import new_id
from services.auth.model.access_token import claims_for
from services.auth.model.account import User
from services.auth.model.refresh_token import RefreshToken, RefreshTokenCodec
from services.auth.model.session import Session
from services.auth.ports import AccessTokenSigner
from services.auth.usecases.key_set import KeySet


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """An access token, how long it is valid, and the refresh token. Has no repr, so that no log can show
    it.
    """

    access_token: str
    expires_in: timedelta
    refresh_token: str
    session: str


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """Who issues access tokens, for whom, and for how long they are valid."""

    issuer: str
    audience: str
    lifetime: timedelta


class TokenIssuer:
    """Signs access tokens and writes refresh tokens."""

    def __init__(
        self, terms: TokenTerms, keys: KeySet, signer: AccessTokenSigner, refresh_tokens: RefreshTokenCodec
    ) -> None:
        """Signs with whichever key of `keys` is due."""
        self._terms = terms
        self._keys = keys
        self._signer = signer
        self._refresh_tokens = refresh_tokens

    def issue(self, user: User, session: Session, refresh: RefreshToken, now: datetime) -> Tokens:
        """A fresh access token of `user` in `session`, and the refresh token `refresh` written out."""
        terms = self._terms
        claims = claims_for(
            user,
            session,
            token_id=new_id(),
            now=now,
            lifetime=terms.lifetime,
            issuer=terms.issuer,
            audience=terms.audience,
        )
        return Tokens(
            access_token=self._signer.sign(claims, self._keys.signer(now)),
            expires_in=claims.expires_at - now,
            refresh_token=self._refresh_tokens.write(refresh),
            session=session.id,
        )
