"""Every RPC against everyone who should not get through, generated from the contract.

A new RPC gets all of this for nothing. Each case holds the exact code and reason, and each call has left exactly one
audit record, which says the same as its caller was told.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interceptors.contract import MethodContract
from interceptors.purposes import PURPOSE_IDS
from polyphony.compliance.v1 import consent_service_pb2
from polyphony.policy.v1 import policy_pb2
from tests.contract.catalogue import METHODS, domain_of, name_of
from tests.contract.mesh import Mesh
from tests.contract.requests import SOME_ID, Violation, minimal, named, of_user, violations
from tests.contract.scenes import credential, forget_the_trained, page_tokens, scene
from tests.fixtures.callers import Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")

USER, SERVICE = policy_pb2.CREDENTIAL_USER, policy_pb2.CREDENTIAL_SERVICE


def over(methods: list[MethodContract]) -> Any:
    """Parametrise over methods."""
    return pytest.mark.parametrize("method", methods, ids=name_of)


GUARDED = [m for m in METHODS if not m.public]
READING_TOKENS = [m for m in METHODS if m.credentials != {policy_pb2.CREDENTIAL_PUBLIC}]
PEOPLES = [m for m in METHODS if USER in m.credentials]
BOUND = [m for m in METHODS if m.binding is not None]
CONSENTED = [
    (m, purpose)
    for m in METHODS
    for purpose, basis in m.purposes.items()
    if basis == policy_pb2.LEGAL_BASIS_CONSENT
]
PAGED = [m for m in METHODS if "page_token" in m.descriptor.input_type.fields_by_name]
DEDUPLICATED = [m for m in METHODS if m.retention]
BREAKABLE = [(m, violation) for m in METHODS for violation in violations(m)]


async def probe(mesh: Mesh, method: MethodContract, requests: Any, token: str | None, **how: Any) -> Outcome:
    """Call, and hold the call against its record."""
    parent = str(uuid.uuid4())
    outcome = await mesh.call(method, requests, token, parent=parent, **how)
    assert outcome.code not in ("UNKNOWN", "INTERNAL"), outcome
    record = await recorded(mesh, method, parent)
    if record is not None:
        assert outcome.trailers["polyphony-audit-id"] == record.id
        assert (record.code, record.reason) == (grpc.StatusCode[outcome.code].value[0], outcome.reason)
    return outcome


async def recorded(mesh: Mesh, method: MethodContract, parent: str) -> Any:
    """The one record of a call; None for the one method whose calls are not recorded."""
    if method.audit_level == policy_pb2.AUDIT_LEVEL_NONE:
        mesh.journal.read()
        assert parent not in mesh.journal.by_parent
        return None
    (record,) = await mesh.journal.of(parent)
    assert record.method == method.name
    return record


async def refused(
    mesh: Mesh, method: MethodContract, requests: Any, token: str | None, code: str, reason: str, **how: Any
) -> Outcome:
    """Call, and be refused with exactly this."""
    outcome = await probe(mesh, method, requests, token, **how)
    assert outcome.verdict == (code, reason), outcome.message
    if not (method.descriptor.client_streaming and method.descriptor.server_streaming):
        assert outcome.responses == []
    assert outcome.info["remedy"]
    return outcome


# Who calls.


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


# May they, and on what.


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


# What for.


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


# With what.


@over(METHODS)
@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x7fcut", b"\x0b"], ids=["noise", "cut", "group"])
async def test_bytes_that_are_no_request(mesh, method, body):
    token = credential(mesh, method)
    await refused(mesh, method, body, token, "INVALID_ARGUMENT", "REQUEST_MALFORMED")


@over(METHODS)
async def test_more_than_it_takes(mesh, method):
    body = b"\0" * (method.max_request_bytes + 1)
    token = credential(mesh, method)
    outcome = await refused(mesh, method, body, token, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    assert outcome.info["limit_bytes"] == str(method.max_request_bytes)


@pytest.mark.parametrize(
    ("method", "violation"),
    BREAKABLE,
    ids=lambda value: f"{value.path} {value.label}" if isinstance(value, Violation) else name_of(value),
)
async def test_a_field_beyond_its_bound(mesh, method, violation):
    token = credential(mesh, method)
    outcome = await refused(mesh, method, violation.request, token, "INVALID_ARGUMENT", "REQUEST_INVALID")
    assert set(outcome.fields) == {violation.path}


@over(PAGED)
async def test_a_page_token_of_another_list(mesh, method):
    """Made up, of another list, or of somebody else: a token is good for one list of one person only."""
    tokens = await page_tokens(mesh)
    foreign = [token for name, token in tokens.items() if name != name_of(method)]
    assert len(foreign) >= 2
    for token in ["garbage", "AAAA", *foreign]:
        request = minimal(method)
        request.page_token = token
        outcome = await refused(
            mesh, method, request, mesh.alice.token, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"
        )
        assert outcome.fields == ["page_token"]
    if name_of(method) in tokens:
        request.page_token = tokens[name_of(method)]
        await refused(mesh, method, request, mesh.alice.token, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


@over([m for m in METHODS if "etag" in m.descriptor.input_type.fields_by_name])
async def test_an_etag_of_another_revision(mesh, method):
    prepared = await scene(mesh, method)
    prepared.requests.etag = "another-revision"
    before = mesh.rows(domain_of(method.name))
    await refused(mesh, method, prepared.requests, prepared.token, "ABORTED", "ETAG_MISMATCH")
    assert mesh.rows(domain_of(method.name)) - before == set()


# What is allowed, once and again.


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


# Streams that lose their ground.


@over([m for m in PEOPLES if m.streams])
@pytest.mark.parametrize("loss", ["session", "consent"])
async def test_an_open_stream_that_loses_its_ground(mesh, method, loss):
    """Ended at once, with the reason, on record; nothing else ends it meanwhile."""
    if loss == "consent" and policy_pb2.LEGAL_BASIS_CONSENT not in method.purposes.values():
        return  # it stands on another ground
    forget_the_trained()
    prepared = await scene(mesh, method)
    parent = str(uuid.uuid4())

    async def one_and_wait() -> Any:
        sent = prepared.requests
        yield sent[0] if isinstance(sent, list) else sent
        await asyncio.sleep(30)

    requests = one_and_wait() if method.descriptor.client_streaming else prepared.requests
    stream = asyncio.create_task(mesh.call(method, requests, prepared.token, parent=parent))
    await asyncio.sleep(0.3)
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


# Callers who do not wait.


@over(METHODS)
async def test_a_caller_who_leaves(mesh, method):
    """Whatever the call was doing, one record remains of it."""
    parent = str(uuid.uuid4())
    prepared = await scene(mesh, method)
    with mesh.locked(domain_of(method.name)):
        call = asyncio.create_task(mesh.call(method, prepared.requests, prepared.token, parent=parent))
        await asyncio.sleep(0.1)
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
        outcome = await mesh.call(method, prepared.requests, prepared.token, parent=parent, seconds=0.1)
        await asyncio.sleep(0.05)
    assert outcome.code == "DEADLINE_EXCEEDED"
    record = await recorded(mesh, method, parent)
    if record is not None:
        assert record.reason in ("DEADLINE_EXCEEDED", "")


async def test_no_call_of_this_suite_left_two_records(mesh):
    """Looks at all of them once more, when everything that was on its way has arrived."""
    await asyncio.sleep(1)
    mesh.journal.read()
    assert {p: len(found) for p, found in mesh.journal.by_parent.items() if p and len(found) > 1} == {}
