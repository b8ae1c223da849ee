"""The runtime's own ports, with nothing left out, for the echo service of the benchmark.

What feeds would bring over gRPC comes from this process; what is looked up per call is the same.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interceptors.aio import RoadInterceptor, chain
from polyphony.auth.v1 import authorization_feed_service_pb2 as auth_pb
from polyphony.auth.v1.token_pb2 import JsonWebKey
from polyphony.compliance.v1 import consent_feed_service_pb2 as consent_pb
from polyphony.compliance.v1.consent_pb2 import CONSENT_STATE_GRANTED
from polyphony.policy.v1.policy_pb2 import PURPOSE_LISTENING_PROFILE
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.authentication import TokenAuthenticator
from services.runtime.authorization import MODEL
from services.runtime.authorization_state import AuthorizationState
from services.runtime.consents import Consents
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.key_set import KeySet
from services.runtime.keyring import Keyring
from services.runtime.limits import Limiter
from services.runtime.persistence import Database
from services.runtime.tokens import TokenTerms

RULES = 1_000
TERMS = TokenTerms(issuer="polyphony", audience="polyphony")
_SEED = bytes(range(32))
_LEASE_SECONDS = 3_600


def access_token() -> str:
    """A token that the benchmark's road accepts."""
    now = int(time.time())
    claims = {
        "iss": TERMS.issuer,
        "aud": TERMS.audience,
        "sub": "01a2076a-9f81-750a-b4aa-8a56d2ca644d",
        "tenant": "01a2076a-9f81-750a-b4aa-000000000000",
        "sid": "01a2076a-9f81-750a-b4aa-111111111111",
        "roles": ["listener"],
        "iat": now,
        "exp": now + 3_600,
        "jti": "bench",
    }
    key = Ed25519PrivateKey.from_private_bytes(_SEED)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "bench"})


async def road_interceptor(folder: Path) -> RoadInterceptor:
    """Every step real: verified-token cache, 1,000 rules, a consent, limits, metrics, 1 % of traces, durable audit."""
    database = Database(f"sqlite:///{folder}/echo.db", domain="echo", keyring=Keyring([bytes(32)]))
    await database.start()
    audit = DatabaseAuditSink(database)
    await audit.start()
    policy, consents = AuthorizationState(_policy, follower="echo"), Consents(_consents, follower="echo")
    following = [asyncio.create_task(state.follower.run()) for state in (policy, consents)]
    for state in (policy, consents):
        await state.follower.ready(5)
    interceptor = chain(
        ["echo.v1.EchoService"],
        service="echo-0",
        authenticator=TokenAuthenticator(KeySet(_keys), policy, TERMS),
        authorizer=policy,
        consents=consents,
        audit=audit,
        idempotency=DatabaseIdempotencyStore(database),
        limiter=Limiter(rate=1e6, burst=1e6, concurrency=256),
    )
    interceptor.following = following  # type: ignore[attr-defined]  # kept alive with the server
    return interceptor


async def _keys() -> list[JsonWebKey]:
    public = Ed25519PrivateKey.from_private_bytes(_SEED).public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return [JsonWebKey(kty="OKP", crv="Ed25519", x=x, kid="bench", use="sig", alg="EdDSA")]


async def _policy(
    acks: AsyncIterator[auth_pb.SyncAuthorizationRequest],
) -> AsyncGenerator[auth_pb.SyncAuthorizationResponse, None]:
    rules = [f"p, role-{n}, *, some.resource.verb{n}, own, allow" for n in range(RULES - 1)]
    rules.append("p, listener, *, echo.message.*, own, allow")
    snapshot = auth_pb.PolicySnapshot(model=MODEL, rules=rules, digest="0" * 64)
    yield auth_pb.SyncAuthorizationResponse(version=1, reset=True, policy=snapshot)
    async for ack in acks:
        if ack.acknowledged_version == 1:
            beat = auth_pb.SyncAuthorizationResponse(version=1, echo=ack.sequence)
            beat.lease.FromSeconds(_LEASE_SECONDS)
            yield beat
            break
    while True:
        await asyncio.sleep(0.5)
        beat = auth_pb.SyncAuthorizationResponse(version=1)
        beat.lease.FromSeconds(_LEASE_SECONDS)
        yield beat


async def _consents(
    acks: AsyncIterator[consent_pb.SyncConsentsRequest],
) -> AsyncGenerator[consent_pb.SyncConsentsResponse, None]:
    claims = jwt.decode(access_token(), options={"verify_signature": False})
    granted = consent_pb.SubjectConsent(
        tenant=claims["tenant"],
        subject=claims["sub"],
        purpose=PURPOSE_LISTENING_PROFILE,
        state=CONSENT_STATE_GRANTED,
        record="01a2076a-9f81-750a-b4aa-222222222222",
    )
    yield consent_pb.SyncConsentsResponse(version=1, reset=True, consents=[granted])
    async for ack in acks:
        if ack.acknowledged_version == 1:
            beat = consent_pb.SyncConsentsResponse(version=1, echo=ack.sequence)
            beat.lease.FromSeconds(_LEASE_SECONDS)
            yield beat
            break
    while True:
        await asyncio.sleep(0.5)
        beat = consent_pb.SyncConsentsResponse(version=1)
        beat.lease.FromSeconds(_LEASE_SECONDS)
        yield beat
