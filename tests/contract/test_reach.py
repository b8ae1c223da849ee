"""Every RPC against callers who may do this, but not to these data, or not for this purpose."""

from __future__ import annotations

import uuid

import pytest

from interceptors.purposes import PURPOSE_IDS
from polyphony.policy.v1 import policy_pb2
from tests.contract.catalogue import METHODS, name_of
from tests.contract.probing import (
    BOUND,
    CONSENTED,
    PEOPLES,
    SERVICE,
    over,
    recorded,
    refused,
)
from tests.contract.requests import SOME_ID, minimal, named, of_user
from tests.contract.scenes import credential

pytestmark = pytest.mark.asyncio(loop_scope="session")


@over([m for m in PEOPLES if m.policy.permission])
async def test_somebody_without_a_role(mesh, method):
    token = mesh.forge(mesh.alice, roles=[])
    outcome = await refused(mesh, method, minimal(method), token, "PERMISSION_DENIED", "PERMISSION_DENIED")
    assert outcome.info["permission"] == method.policy.permission


@over(BOUND)
async def test_the_wrong_owner(mesh, method):
    request = named(method, of_user(method, mesh.bob.user))
    token = credential(mesh, method)
    await refused(mesh, method, request, token, "PERMISSION_DENIED", "RESOURCE_NOT_OWNED")


@over([m for m in BOUND if SERVICE in m.credentials])
async def test_a_service_that_acts_for_somebody_else(mesh, method):
    request = named(method, of_user(method, mesh.bob.user))
    for person in (mesh.alice, None):
        token = mesh.service_token("ai", person, PURPOSE_IDS[next(iter(method.purposes))] if person else "")
        await refused(mesh, method, request, token, "PERMISSION_DENIED", "RESOURCE_NOT_OWNED")


@over(BOUND)
async def test_the_wrong_tenant(mesh, method):
    """Somebody with every role that there is, in another tenant: even what reaches a whole tenant finds nothing."""
    token = mesh.forge(mesh.bob, roles=["owner", "manager", "auditor", "operator", "listener"])
    request = named(method, of_user(method, mesh.alice.user))
    seconds = 0.3 if method.descriptor.server_streaming else 10.0
    parent = str(uuid.uuid4())
    outcome = await mesh.call(method, request, token, parent=parent, seconds=seconds)
    await recorded(mesh, method, parent)
    if policy_pb2.LEGAL_BASIS_CONSENT in method.purposes.values():
        assert outcome.reason in ("RESOURCE_NOT_OWNED", "CONSENT_REQUIRED")
    elif outcome.code not in ("OK", "DEADLINE_EXCEEDED"):
        assert outcome.reason in ("RESOURCE_NOT_OWNED", "RESOURCE_NOT_FOUND")
    # Records of the caller's own tenant about their own attempts are theirs; nothing else may be there.
    for response in outcome.responses:
        assert mesh.alice.tenant not in str(response)
        for record in [*getattr(response, "records", ()), getattr(response, "record", None)]:
            assert record is None or record.record.actor == mesh.bob.user
        assert hasattr(response, "records") or hasattr(response, "record") or not response.ByteSize()


@over(BOUND)
@pytest.mark.parametrize(
    "form", ["{}", "users/", "users/me/nothing/of/the/kind", "tenants/t/users/me", "users/ME", "*"]
)
async def test_an_unknown_form_of_name(mesh, method, form):
    request = named(method, form.format(SOME_ID))
    token = credential(mesh, method)
    outcome = await refused(mesh, method, request, token, "INVALID_ARGUMENT", "REQUEST_INVALID")
    assert outcome.fields == [method.binding.field]


@pytest.mark.parametrize(("method", "purpose"), CONSENTED, ids=lambda v: PURPOSE_IDS.get(v) or name_of(v))
@pytest.mark.parametrize("who", ["bob", "carol"])
async def test_without_consent(mesh, method, purpose, who):
    """Bob was never asked; Carol has withdrawn."""
    outcome = await refused(
        mesh,
        method,
        minimal(method),
        getattr(mesh, who).token,
        "FAILED_PRECONDITION",
        "CONSENT_REQUIRED" if who == "bob" else "CONSENT_WITHDRAWN",
        purpose=PURPOSE_IDS[purpose],
    )
    assert outcome.preconditions == [PURPOSE_IDS[purpose]]


@pytest.mark.parametrize(
    ("method", "purpose"),
    [(m, purpose) for m, purpose in CONSENTED if SERVICE in m.credentials],
    ids=lambda v: PURPOSE_IDS.get(v) or name_of(v),
)
async def test_a_service_without_the_persons_consent(mesh, method, purpose):
    token = mesh.service_token("ai", mesh.carol, PURPOSE_IDS[purpose])
    await refused(mesh, method, minimal(method), token, "FAILED_PRECONDITION", "CONSENT_WITHDRAWN")


@over(METHODS)
async def test_a_purpose_that_it_does_not_serve(mesh, method):
    unserved = next(PURPOSE_IDS[number] for number in PURPOSE_IDS if number not in method.purposes)
    for purpose in (unserved, "no-such-purpose"):
        await refused(
            mesh,
            method,
            minimal(method),
            credential(mesh, method),
            "INVALID_ARGUMENT",
            "PURPOSE_NOT_PERMITTED",
            purpose=purpose,
        )
