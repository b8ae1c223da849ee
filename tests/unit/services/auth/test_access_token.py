"""Access tokens: the profile of RFC 9068, as an independent reader sees it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.adapters.jwt import JwtSigner
from services.auth.model.access_token import claims_for
from services.auth.model.account import User
from services.auth.model.session import Session
from services.auth.model.signing_key import SigningKey

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = SigningKey("kid-1", NOW, Ed25519PrivateKey.generate())
USER = User("u1", "t1", "ada@example.org", "Ada", ("owner", "listener"), "$argon2id$...", NOW, NOW)
SESSION = Session(
    id="s1", tenant="t1", user="u1", generation=0, token_hash=b"", authenticated_at=NOW - timedelta(hours=1),
    refreshed_at=NOW, expires_at=NOW + timedelta(days=90),
)  # fmt: skip


def token(session: Session = SESSION) -> str:
    claims = claims_for(
        USER,
        session,
        token_id="j1",
        now=NOW,
        lifetime=timedelta(minutes=15),
        issuer="https://i",
        audience="mesh",
    )
    return JwtSigner().sign(claims, KEY)


def test_a_verifier_reads_the_required_claims_and_ours() -> None:
    read = jwt.decode_complete(
        token(), KEY.private.public_key(), algorithms=["EdDSA"], issuer="https://i", audience="mesh",
        options={"require": ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]},
    )  # fmt: skip
    assert read["header"] == {"typ": "at+jwt", "alg": "EdDSA", "kid": "kid-1"}
    assert read["payload"] == {
        "iss": "https://i",
        "aud": "mesh",
        "sub": "u1",
        "client_id": "polyphony",
        "tenant": "t1",
        "sid": "s1",
        "roles": ["owner", "listener"],
        "jti": "j1",
        "auth_time": int(NOW.timestamp()) - 3600,
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 900,
    }


def test_nothing_personal_is_in_it() -> None:
    payload = jwt.decode(token(), options={"verify_signature": False})
    assert "ada" not in str(payload).lower()


def test_another_key_does_not_verify_it() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token(), Ed25519PrivateKey.generate().public_key(), algorithms=["EdDSA"], audience="mesh")


def test_it_never_outlives_the_session() -> None:
    ending = replace(SESSION, expires_at=NOW + timedelta(minutes=1))
    payload = jwt.decode(token(ending), options={"verify_signature": False})
    assert payload["exp"] == int(NOW.timestamp()) + 60
