"""One call as a case: what was answered is held against the one record that it left.

Nothing here names a method: which cases a method gets follows from its contract.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from interceptors.contract import MethodContract
from polyphony.policy.v1 import policy_pb2
from tests.contract.catalogue import METHODS, name_of
from tests.contract.mesh import Mesh
from tests.fixtures.callers import Outcome

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


def in_flight(method: MethodContract) -> float:
    """How many calls of the method are being answered in this process."""
    return REGISTRY.get_sample_value("rpc_server_active_calls", {"rpc_method": method.name}) or 0.0


async def begun(method: MethodContract, before: float) -> None:
    """Wait until one call more than `before` is being answered."""
    if method.credentials == {SERVICE}:
        await asyncio.sleep(0.15)  # the mesh calls it, too: another call may end while this one begins
        return
    async with asyncio.timeout(5):
        while in_flight(method) <= before:  # noqa: ASYNC110 - the server does not say when it begins
            await asyncio.sleep(0.005)
