"""Every RPC against requests that its contract does not allow, each made from one of its bounds."""

from __future__ import annotations

import pytest

from tests.contract.catalogue import METHODS, domain_of, name_of
from tests.contract.probing import PAGED, over, refused
from tests.contract.requests import Violation, minimal, violations
from tests.contract.scenes import credential, page_tokens, scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

BREAKABLE = [(m, violation) for m in METHODS for violation in violations(m)]


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
