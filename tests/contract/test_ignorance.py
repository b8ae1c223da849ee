"""A domain that no longer knows what it must know refuses, whatever it knew before: every RPC fails closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from polyphony.policy.v1 import policy_pb2
from tests.contract.catalogue import domain_of
from tests.contract.mesh import Mesh, running_mesh
from tests.contract.probing import READING_TOKENS, over, refused
from tests.contract.requests import minimal
from tests.contract.scenes import credential

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOURCES = ("auth", "compliance")
FOLLOWING = [m for m in READING_TOKENS if domain_of(m.name) not in SOURCES]
RESTING_ON_CONSENT = [m for m in FOLLOWING if policy_pb2.LEGAL_BASIS_CONSENT in m.purposes.values()]
LEASE = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cut_off(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """A mesh of its own, whose sources of policy and consent these tests take away, one after the other."""
    async with running_mesh(tmp_path_factory.mktemp("cut-off"), feed_lease_seconds=LEASE) as mesh:
        yield mesh


async def gone(mesh: Mesh, source: str) -> None:
    """Stop a source and wait until what it last said has run out."""
    if source in mesh.stops:
        await mesh.stops.pop(source)()
        await asyncio.sleep(LEASE + 0.1)


@over(RESTING_ON_CONSENT)
async def test_without_the_consent_ledger_nothing_is_consented_to(cut_off, method):
    await gone(cut_off, "compliance")
    token = credential(cut_off, method)
    await refused(cut_off, method, minimal(method), token, "UNAVAILABLE", "CONSENT_STALE")


@over(FOLLOWING)
async def test_without_the_policy_nothing_is_permitted(cut_off, method):
    await gone(cut_off, "compliance")
    await gone(cut_off, "auth")
    token = credential(cut_off, method)
    await refused(cut_off, method, minimal(method), token, "UNAVAILABLE", "POLICY_STALE")
