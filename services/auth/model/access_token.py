"""What an access token says: the claims of RFC 9068, and ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.auth.model.account import User
from services.auth.model.session import Session

TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type, not a token
"""RFC 9068 2.1: keeps an access token from being mistaken for any other JWT."""

CLIENT_ID = "polyphony"
"""RFC 9068 2.2 requires `client_id`: tokens that AuthService itself hands out are for the first-party
client.
"""


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """One access token before it is signed."""

    issuer: str
    audience: str
    subject: str
    tenant: str
    session: str
    roles: tuple[str, ...]
    token_id: str
    authenticated_at: datetime
    issued_at: datetime
    expires_at: datetime

    def as_json(self) -> dict[str, object]:
        """The claim set, with times as NumericDate (RFC 7519 section 2): whole seconds since the epoch."""
        return {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.subject,
            "client_id": CLIENT_ID,
            "tenant": self.tenant,
            "sid": self.session,
            "roles": list(self.roles),
            "jti": self.token_id,
            "auth_time": int(self.authenticated_at.timestamp()),
            "iat": int(self.issued_at.timestamp()),
            "exp": int(self.expires_at.timestamp()),
        }


def claims_for(
    user: User,
    session: Session,
    *,
    token_id: str,
    now: datetime,
    lifetime: timedelta,
    issuer: str,
    audience: str,
) -> AccessTokenClaims:
    """The claims of a token for `user` in `session`. It never outlives the session's absolute end."""
    return AccessTokenClaims(
        issuer=issuer,
        audience=audience,
        subject=user.id,
        tenant=user.tenant,
        session=session.id,
        roles=user.roles,
        token_id=token_id,
        authenticated_at=session.authenticated_at,
        issued_at=now,
        expires_at=min(now + lifetime, session.expires_at),
    )
