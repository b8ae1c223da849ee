"""What is allowed succeeds; repeated, it has no second effect."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from interceptors.contract import MethodContract
from tests.contract.catalogue import METHODS, domain_of
from tests.contract.mesh import Mesh
from tests.contract.probing import DEDUPLICATED, over, probe, recorded, refused
from tests.contract.requests import of_user
from tests.contract.scenes import scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


@over(METHODS)
async def test_an_allowed_call_is_answered(mesh, method):
    """The counterpart of all the refusals: what they refuse is refused for its own fault."""
    prepared = await scene(mesh, method)
    if method.descriptor.server_streaming:
        await _opens(mesh, method, prepared)
        return
    outcome = await probe(mesh, method, prepared.requests, prepared.token)
    assert outcome.verdict == ("OK", ""), outcome.message


async def _opens(mesh: Mesh, method: MethodContract, prepared: Any) -> None:
    """A stream without an end is open until its caller leaves: nothing else ended it."""

    async def one_and_wait() -> Any:
        yield prepared.requests
        await asyncio.sleep(5)

    requests = one_and_wait() if method.descriptor.client_streaming else prepared.requests
    parent = str(uuid.uuid4())
    outcome = await mesh.call(method, requests, prepared.token, parent=parent, seconds=0.5)
    assert outcome.code == "DEADLINE_EXCEEDED", outcome.message
    assert (await recorded(mesh, method, parent)).reason in ("DEADLINE_EXCEEDED", "CANCELLED")


@over(DEDUPLICATED)
async def test_the_same_request_id_again(mesh, method):
    """The same request: the same answer and no second effect. Another request: refused."""
    prepared = await scene(mesh, method)
    domain = domain_of(method.name)
    request = prepared.requests
    request.request_id = str(uuid.uuid4())
    first = await probe(mesh, method, request, prepared.token)
    assert first.verdict == ("OK", "")
    before = mesh.rows(domain)
    parent = str(uuid.uuid4())
    second = await mesh.call(method, request, prepared.token, parent=parent)
    assert second.response == first.response
    assert mesh.rows(domain) - before == set(), "the replay changed something"
    record = await recorded(mesh, method, parent)
    assert record.replayed
    another = _another(method, request)
    refusal = await refused(mesh, method, another, prepared.token, "INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert refusal.fields == ["request_id"]
    assert mesh.rows(domain) - before == set(), "the refused call changed something"


@over(DEDUPLICATED)
async def test_retries_at_the_same_time(mesh, method):
    """Whoever comes first, all are given its answer."""
    prepared = await scene(mesh, method)
    prepared.requests.request_id = str(uuid.uuid4())
    retries = [probe(mesh, method, prepared.requests, prepared.token) for _ in range(5)]
    outcomes = await asyncio.gather(*retries)
    assert {outcome.response.SerializeToString() for outcome in outcomes} == {
        outcomes[0].response.SerializeToString()
    }


def _another(method: MethodContract, request: Any) -> Any:
    """A valid request that differs in one field but for its request id: the last one that can be set freely."""
    another = type(request)()
    another.CopyFrom(request)
    for field in reversed(request.DESCRIPTOR.fields):
        if (
            field.name != "request_id"
            and field.type == field.TYPE_STRING
            and not getattr(request, field.name)
        ):
            setattr(another, field.name, "other")
            return another
    for field in request.DESCRIPTOR.fields:
        if field.type in (field.TYPE_INT32, field.TYPE_UINT32):
            setattr(another, field.name, getattr(request, field.name) + 1)
            return another
    method.binding.write(another, of_user(method, "me") + "0")
    return another
