"""Access tokens: what is accepted, and everything near it that is not."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interceptors.faults import Fault
from polyphony.auth.v1.token_pb2 import JsonWebKey
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from services.runtime.authentication import TokenAuthenticator
from services.runtime.key_set import KeySet, public_key
from services.runtime.service_identity import Behalf, ServiceIdentity
from services.runtime.tokens import TokenTerms

ISSUER, AUDIENCE = "https://auth.test", "mesh"
AUTH, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
AI = ServiceIdentity("ai", Ed25519PrivateKey.generate(), audience=AUDIENCE)
SPOTIFY = ServiceIdentity("spotify", Ed25519PrivateKey.generate(), audience=AUDIENCE)
KID = "auth-key"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key: Ed25519PrivateKey, kid: str) -> JsonWebKey:
    x = b64(key.public_key().public_bytes_raw())
    return JsonWebKey(kty="OKP", crv="Ed25519", x=x, kid=kid, use="sig", alg="EdDSA")


class Revocations:
    """The state of sessions, as a test wants it."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.stale = False

    def check_session(self, session: str) -> None:
        if self.stale:
            raise Fault(reason_pb2.REASON_POLICY_STALE)
        if session in self.revoked:
            raise Fault(reason_pb2.REASON_SESSION_REVOKED)


class Auth:
    """Serves a key set and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = [jwk(AUTH, KID), JsonWebKey(**AI.jwk), JsonWebKey(**SPOTIFY.jwk)]
        self.asked = 0
        self.up = True

    async def fetch(self) -> list[JsonWebKey]:
        self.asked += 1
        if not self.up:
            raise ConnectionError
        return self.keys


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "tenant": "t1", "sid": "s1", "roles": ["listener"],
        "iat": now, "exp": now + 900, "jti": "j", "client_id": "polyphony", "auth_time": now,
    }  # fmt: skip
    return {name: value for name, value in (made | changes).items() if value is not ...}


def signed(payload: dict[str, Any] | str, key: Ed25519PrivateKey = AUTH, **header: Any) -> str:
    head = {
        name: v
        for name, v in ({"alg": "EdDSA", "typ": "at+jwt", "kid": KID} | header).items()
        if v is not ...
    }
    text = payload if isinstance(payload, str) else json.dumps(payload)
    signing_input = f"{b64(json.dumps(head).encode())}.{b64(text.encode())}"
    return f"{signing_input}.{b64(key.sign(signing_input.encode()))}"


def authenticator(auth: Auth | None = None, **options: Any) -> tuple[TokenAuthenticator, Revocations, Auth]:
    auth, revocations = auth or Auth(), Revocations()
    keys = KeySet(auth.fetch, patience=options.pop("patience", 0.0))
    return TokenAuthenticator(keys, revocations, TokenTerms(ISSUER, AUDIENCE), **options), revocations, auth


def reason(action: Callable[[], Any]) -> str:
    with pytest.raises(Fault) as refused:
        action()
    return refused.value.name


async def refusal(token: str) -> str:
    with pytest.raises(Fault) as refused:
        await authenticator()[0].verify(token)
    assert not token or token not in refused.value.message
    return refused.value.name


async def test_a_persons_token_is_verified_once_and_remembered() -> None:
    subject, _, auth = authenticator()
    token = signed(claims(roles=["listener", "owner"]))
    assert subject.cached(token) is None
    identity = await subject.verify(token)
    assert (identity.credential, identity.tenant, identity.user) == (policy_pb2.CREDENTIAL_USER, "t1", "u1")
    assert (identity.session, identity.roles, identity.actor) == ("s1", ("listener", "owner"), "")
    assert subject.cached(token) is identity
    assert auth.asked == 1


async def test_a_remembered_token_ends_with_its_session_its_time_and_the_feed() -> None:
    now = [time.time()]
    subject, revocations, _ = authenticator(clock=lambda: now[0])
    token = signed(claims())
    await subject.verify(token)
    revocations.stale = True
    assert reason(lambda: subject.cached(token)) == "POLICY_STALE"
    revocations.stale, revocations.revoked = False, {"s1"}
    assert reason(lambda: subject.cached(token)) == "SESSION_REVOKED"
    revocations.revoked = set()
    assert subject.cached(token)
    now[0] += 901
    assert reason(lambda: subject.cached(token)) == "CREDENTIAL_EXPIRED"


async def test_memory_is_bounded() -> None:
    subject, _, _ = authenticator(capacity=3)
    tokens = [signed(claims(jti=str(n))) for n in range(5)]
    for token in tokens:
        await subject.verify(token)
    assert [subject.cached(token) is not None for token in tokens] == [False, False, True, True, True]


async def test_a_removed_key_takes_back_what_it_verified() -> None:
    subject, _, auth = authenticator()
    token = signed(claims())
    await subject.verify(token)
    auth.keys = [jwk(STRANGER, "other")]
    assert await refusal_of(subject, signed(claims(), kid="new")) == "CREDENTIAL_INVALID"
    assert subject.cached(token) is None
    assert await refusal_of(subject, token) == "CREDENTIAL_INVALID"


async def refusal_of(subject: TokenAuthenticator, token: str) -> str:
    with pytest.raises(Fault) as refused:
        await subject.verify(token)
    return refused.value.name


async def test_unknown_keys_cannot_be_used_to_load_auth() -> None:
    subject, _, auth = authenticator(patience=60.0)
    await asyncio.gather(
        *(subject.verify(signed(claims(), kid=f"k{n}")) for n in range(50)), return_exceptions=True
    )
    assert auth.asked == 1


async def test_without_any_key_nobody_can_know() -> None:
    auth = Auth()
    auth.up = False
    subject, _, _ = authenticator(auth)
    assert await refusal_of(subject, signed(claims())) == "POLICY_STALE"


@pytest.mark.parametrize(
    "make",  # made when the test runs: a token does not outlast the collection of a large suite
    [
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "a.b", id="two segments"),
        pytest.param(lambda: "a.b.c.d", id="four segments"),
        pytest.param(lambda: "\udcff.b.c", id="not text"),
        pytest.param(lambda: "x" * 5000, id="too long"),
        pytest.param(lambda: signed(claims()) + "=", id="padding"),
        pytest.param(lambda: " " + signed(claims()), id="blank"),
        pytest.param(lambda: signed(claims())[:-1], id="signature cut"),
        pytest.param(lambda: signed(claims(), STRANGER), id="another key"),
        pytest.param(lambda: signed(claims(), kid="unknown"), id="unknown key"),
        pytest.param(lambda: signed(claims(), kid=...), id="no kid"),
        pytest.param(lambda: signed(claims(), kid=["x"]), id="kid of another kind"),
        pytest.param(lambda: signed(claims(), alg="none"), id="alg none"),
        pytest.param(lambda: signed(claims(), alg="eddsa"), id="alg in another case"),
        pytest.param(lambda: signed(claims(), alg="Ed25519"), id="another name of the algorithm"),
        pytest.param(lambda: signed(claims(), alg="HS256"), id="a symmetric alg"),
        pytest.param(lambda: signed(claims(), typ="JWT"), id="another type of JWT"),
        pytest.param(lambda: signed(claims(), typ=...), id="no type"),
        pytest.param(lambda: signed(claims(), crit=["exp"]), id="crit"),
        pytest.param(lambda: signed(claims(), jwk={"kty": "OKP"}), id="a key that the token brings"),
        pytest.param(
            lambda: signed(claims(), jku="https://evil.test"), id="a key address that the token brings"
        ),
        pytest.param(lambda: signed(claims(), b64=False), id="unencoded payload"),
        pytest.param(lambda: signed('{"sub":"u1","sub":"admin"}'), id="duplicate claims"),
        pytest.param(lambda: signed("[]"), id="no object"),
        pytest.param(lambda: signed('{"exp": NaN}'), id="not JSON"),
        pytest.param(lambda: signed(claims(iss="https://evil.test")), id="another issuer"),
        pytest.param(lambda: signed(claims(aud="other")), id="another audience"),
        pytest.param(lambda: signed(claims(aud=[AUDIENCE, "other"])), id="several audiences"),
        pytest.param(lambda: signed(claims(aud=...)), id="no audience"),
        pytest.param(lambda: signed(claims(sub=...)), id="no subject"),
        pytest.param(lambda: signed(claims(sub="")), id="empty subject"),
        pytest.param(lambda: signed(claims(sub=7)), id="subject of another kind"),
        pytest.param(lambda: signed(claims(sub="service:ai")), id="auth's key for a service"),
        pytest.param(lambda: signed(claims(act={"sub": "service:ai"})), id="auth's key for an actor"),
        pytest.param(lambda: signed(claims(tenant=...)), id="no tenant"),
        pytest.param(lambda: signed(claims(tenant="*")), id="every tenant"),
        pytest.param(lambda: signed(claims(tenant="t" * 65)), id="a tenant that fits into no column"),
        pytest.param(lambda: AI.token(Behalf("*", "u1", "")), id="a service for every tenant"),
        pytest.param(lambda: signed(claims(sid=...)), id="no session"),
        pytest.param(lambda: signed(claims(roles="owner")), id="roles as text"),
        pytest.param(lambda: signed(claims(roles=[1])), id="roles of another kind"),
        pytest.param(lambda: signed(claims(exp=...)), id="no end"),
        pytest.param(lambda: signed(claims(exp=time.time() + 900)), id="an end that is no integer"),
        pytest.param(lambda: signed(claims(iat=int(time.time()) + 600)), id="issued in the future"),
        pytest.param(lambda: signed(claims(nbf=int(time.time()) + 600)), id="not valid yet"),
        pytest.param(
            lambda: jwt.encode(claims(), "s" * 32, headers={"typ": "at+jwt", "kid": KID}), id="HMAC"
        ),
    ],
)
async def test_near_misses_are_invalid(make: Callable[[], str]) -> None:
    assert await refusal(make()) == "CREDENTIAL_INVALID"


async def test_non_canonical_base64_is_invalid() -> None:
    token = signed(claims())
    # 64 bytes leave four unused bits in the last character: another character may decode to the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "==") == base64.urlsafe_b64decode(
        token.split(".")[2] + "=="
    )
    assert await refusal(twin) == "CREDENTIAL_INVALID"


async def test_an_expired_token_says_so() -> None:
    assert await refusal(signed(claims(exp=int(time.time()) - 10))) == "CREDENTIAL_EXPIRED"


async def test_a_service_acts_for_a_person_and_a_purpose() -> None:
    identity = await authenticator()[0].verify(AI.token(Behalf("t1", "u1", "listening-profile")))
    assert identity.credential == policy_pb2.CREDENTIAL_SERVICE
    assert (identity.tenant, identity.user, identity.actor) == ("t1", "u1", "service:ai")
    assert (identity.purpose, identity.roles) == ("listening-profile", ("service",))


async def test_a_service_acts_for_itself() -> None:
    identity = await authenticator()[0].verify(AI.token())
    assert (identity.user, identity.actor, identity.tenant) == ("service:ai", "", "-")


def test_one_token_serves_many_calls() -> None:
    assert AI.token() == AI.token()
    assert AI.token() != AI.token(Behalf("t1", "u1", ""))


def service_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = claims(
        iss="service:ai",
        sub="u1",
        act={"sub": "service:ai"},
        roles=["service"],
        iat=now,
        exp=now + 60,
        sid=...,
    )
    return {name: value for name, value in (made | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: service_claims(), "accepted"),
        (lambda: service_claims(roles=["owner"]), "accepted"),
        (lambda: service_claims(iss="service:spotify", act={"sub": "service:spotify"}), "CREDENTIAL_INVALID"),
        (lambda: service_claims(act={"sub": "service:spotify"}), "CREDENTIAL_INVALID"),
        (lambda: service_claims(act=...), "CREDENTIAL_INVALID"),
        (lambda: service_claims(sub="service:spotify"), "CREDENTIAL_INVALID"),
        (lambda: service_claims(iss=ISSUER), "CREDENTIAL_INVALID"),
        (lambda: service_claims(exp=int(time.time()) + 9000), "CREDENTIAL_INVALID"),
        (lambda: service_claims(purpose=3), "CREDENTIAL_INVALID"),
    ],
)
async def test_a_service_can_only_be_itself(make: Callable[[], dict[str, Any]], expected: str) -> None:
    token = signed(make(), AI._key, kid=AI.kid)
    if expected == "accepted":
        assert (await authenticator()[0].verify(token)).roles == ("service",)
    else:
        assert await refusal(token) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "EC"},
        {"crv": "X25519"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"x": "AA"},
        {"x": "*"},
        {"kid": ""},
    ],
)
def test_other_kinds_of_key_are_not_used(change: dict[str, str]) -> None:
    given = {**AI.jwk, **change}
    assert public_key(JsonWebKey(**given)) is None
    assert public_key(JsonWebKey(**AI.jwk)) is not None
