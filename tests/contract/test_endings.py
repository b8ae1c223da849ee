"""Calls that end before they are done: their ground is gone, their caller leaves, their time is over."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from interceptors.purposes import PURPOSE_IDS
from polyphony.compliance.v1 import consent_service_pb2
from polyphony.policy.v1 import policy_pb2
from tests.contract.catalogue import METHODS, domain_of, name_of
from tests.contract.probing import PEOPLES, begun, in_flight, over, recorded
from tests.contract.scenes import forget_the_trained, scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


GROUNDS = [(m, "session") for m in PEOPLES if m.streams]
GROUNDS += [
    (m, "consent") for m in PEOPLES if m.streams and policy_pb2.LEGAL_BASIS_CONSENT in m.purposes.values()
]


@pytest.mark.parametrize(("method", "loss"), GROUNDS, ids=lambda v: v if isinstance(v, str) else name_of(v))
async def test_an_open_stream_that_loses_its_ground(mesh, method, loss):
    """Ended at once, with the reason, on record; nothing else ends it meanwhile."""
    forget_the_trained()
    prepared = await scene(mesh, method)
    parent = str(uuid.uuid4())

    async def one_and_wait() -> Any:
        sent = prepared.requests
        yield sent[0] if isinstance(sent, list) else sent
        await asyncio.sleep(30)

    requests = one_and_wait() if method.descriptor.client_streaming else prepared.requests
    before = in_flight(method)
    stream = asyncio.create_task(mesh.call(method, requests, prepared.token, parent=parent))
    await begun(method, before)
    await asyncio.sleep(0.1)
    assert not stream.done(), stream.result()
    if loss == "session":
        await mesh.call("/polyphony.auth.v1.AuthService/LogOut", b"", prepared.token)
        expected = "UNAUTHENTICATED", "SESSION_REVOKED"
    else:
        name = f"users/me/consents/{PURPOSE_IDS[next(iter(method.purposes))]}"
        request = consent_service_pb2.WithdrawConsentRequest(name=name)
        await mesh.call("/polyphony.compliance.v1.ConsentService/WithdrawConsent", request, prepared.token)
        expected = "FAILED_PRECONDITION", "CONSENT_WITHDRAWN"
    outcome = await asyncio.wait_for(stream, 2)
    forget_the_trained()
    if prepared.token == mesh.alice.token:
        await mesh.log_in(mesh.alice)
    assert outcome.verdict == expected
    assert (await recorded(mesh, method, parent)).reason == expected[1]


@over(METHODS)
async def test_a_caller_who_leaves(mesh, method):
    """Whatever the call was doing, one record remains of it."""
    parent = str(uuid.uuid4())
    prepared = await scene(mesh, method)
    with mesh.locked(domain_of(method.name)):
        before = in_flight(method)
        call = asyncio.create_task(mesh.call(method, prepared.requests, prepared.token, parent=parent))
        await begun(method, before)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0.05)
    record = await recorded(mesh, method, parent)
    if record is not None:
        # A read that was done when the caller left is on record as done.
        assert record.reason in ("CANCELLED", "")


@over(METHODS)
async def test_a_deadline_that_passes(mesh, method):
    parent = str(uuid.uuid4())
    prepared = await scene(mesh, method)
    with mesh.locked(domain_of(method.name)):
        outcome = await mesh.call(method, prepared.requests, prepared.token, parent=parent, seconds=0.25)
        await asyncio.sleep(0.05)
    assert outcome.code == "DEADLINE_EXCEEDED"
    record = await recorded(mesh, method, parent)
    if record is not None:
        # A caller whose words were long on the way gives up before our clock says so: that looks like leaving.
        assert record.reason in ("DEADLINE_EXCEEDED", "CANCELLED", "")
