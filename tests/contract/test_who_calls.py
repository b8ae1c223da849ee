"""Every RPC against everyone whose credential does not let them in."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.contract.mesh import Mesh
from tests.contract.probing import (
    GUARDED,
    PEOPLES,
    READING_TOKENS,
    SERVICE,
    USER,
    over,
    refused,
)
from tests.contract.requests import minimal

pytestmark = pytest.mark.asyncio(loop_scope="session")


@over(GUARDED)
async def test_nobody(mesh, method):
    await refused(mesh, method, minimal(method), None, "UNAUTHENTICATED", "CREDENTIAL_MISSING")


@over([m for m in READING_TOKENS if {USER, SERVICE} - m.credentials])
async def test_somebody_of_the_wrong_kind(mesh, method):
    token = mesh.alice.token if USER not in method.credentials else mesh.service_token("ai")
    outcome = await refused(
        mesh, method, minimal(method), token, "PERMISSION_DENIED", "CREDENTIAL_KIND_NOT_ACCEPTED"
    )
    assert outcome.info["credential"] == ("user" if USER not in method.credentials else "service")


FORGERIES = {
    "no-token-at-all": lambda mesh: "nonsense",
    "two-segments": lambda mesh: mesh.alice.token.rpartition(".")[0],
    "foreign-signature": lambda mesh: mesh.forge(mesh.alice, key=Ed25519PrivateKey.generate()),
    "changed-payload": lambda mesh: _spliced(mesh),
    "no-algorithm": lambda mesh: mesh.forge(mesh.alice, key="", headers={"alg": "none"}),
    "symmetric-algorithm": lambda mesh: mesh.forge(mesh.alice, key="k" * 32, headers={"alg": "HS256"}),
    "unknown-key": lambda mesh: mesh.forge(mesh.alice, headers={"kid": "somebody-elses"}),
    "key-of-a-service": lambda mesh: mesh.forge(
        mesh.alice, headers={"kid": mesh.service_kid("ai")}, iss="service:ai"
    ),
    "other-audience": lambda mesh: mesh.forge(mesh.alice, aud="another-mesh"),
    "other-issuer": lambda mesh: mesh.forge(mesh.alice, iss="https://example.org"),
    "no-tenant": lambda mesh: mesh.forge(mesh.alice, tenant=None),
    "not-yet-issued": lambda mesh: mesh.forge(mesh.alice, iat=int(time.time()) + 3600),
    "another-type": lambda mesh: mesh.forge(mesh.alice, headers={"typ": "JWT"}),
    "a-key-in-the-header": lambda mesh: mesh.forge(mesh.alice, headers={"jwk": {"kty": "OKP"}}),
    "far-too-long": lambda mesh: mesh.forge(mesh.alice, padding="x" * 4096),
    "a-person-called-service": lambda mesh: mesh.forge(mesh.alice, sub="service:ai"),
    "a-service-speaking-as-another": lambda mesh: mesh.forge_service("ai", sub="service:auth"),
    "a-service-issuing-as-another": lambda mesh: mesh.forge_service("ai", iss="service:auth"),
    "a-service-issuing-for-people": lambda mesh: mesh.forge_service(
        "ai", iss=mesh.settings["auth"].token_issuer, sub=mesh.alice.user
    ),
    "a-service-for-a-whole-day": lambda mesh: mesh.forge_service("ai", exp=int(time.time()) + 86_400),
}


def _spliced(mesh: Mesh) -> str:
    """Alice's header and signature around the claims of another user."""
    header, _, signature = mesh.alice.token.split(".")
    return ".".join((header, mesh.bob.token.split(".")[1], signature))


@pytest.mark.parametrize("forgery", FORGERIES)
@over(READING_TOKENS)
async def test_a_forger(mesh, method, forgery):
    token = FORGERIES[forgery](mesh)
    await refused(mesh, method, minimal(method), token, "UNAUTHENTICATED", "CREDENTIAL_INVALID")


@over(PEOPLES)
async def test_somebody_too_late(mesh, method):
    past = int(time.time()) - 3600
    token = mesh.forge(mesh.alice, iat=past - 900, exp=past)
    await refused(mesh, method, minimal(method), token, "UNAUTHENTICATED", "CREDENTIAL_EXPIRED")


@over(PEOPLES)
async def test_somebody_who_has_left(mesh, method):
    token = await mesh.left()
    await refused(mesh, method, minimal(method), token, "UNAUTHENTICATED", "SESSION_REVOKED")
