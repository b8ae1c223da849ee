"""Compliance as it runs: over gRPC, beside a real auth, with the whole road before it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import services.auth.settings
import services.auth.wiring
import services.compliance.settings
import services.compliance.wiring
from cli.mesh.identity import checkpoint_public_key, make_keys
from polyphony.auth.v1 import auth_service_pb2
from polyphony.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from polyphony.compliance.v1 import (
    audit_ledger_service_pb2,
    audit_service_pb2,
    consent_feed_service_pb2,
    consent_pb2,
    consent_service_pb2,
)
from polyphony.compliance.v1.audit_ledger_service_pb2_grpc import AuditLedgerServiceStub
from polyphony.compliance.v1.audit_service_pb2_grpc import AuditServiceStub
from polyphony.compliance.v1.consent_feed_service_pb2_grpc import ConsentFeedServiceStub
from polyphony.compliance.v1.consent_service_pb2_grpc import ConsentServiceStub
from polyphony.policy.v1 import policy_pb2
from services.compliance.receipts import InclusionProof, ReceiptError, verify_receipt
from services.runtime.lifecycle import Host
from tests.integration.compliance.conftest import encoded, record

PROFILE = policy_pb2.PURPOSE_LISTENING_PROFILE


@dataclass
class Mesh:
    """Auth and compliance, and one person who is logged in."""

    home: Path
    channel: grpc.aio.Channel
    consents: Any
    audit: Any
    user: str
    token: list[tuple[str, str]]

    async def call(self, method: Any, request: Any) -> tuple[Any, str]:
        """The answer to a call of that person, and its audit id."""
        call = method(request, metadata=self.token, timeout=10)
        answer = await call
        trailers = dict(await call.trailing_metadata())
        return answer, trailers["polyphony-audit-id"]


def free_port() -> int:
    """A TCP port on loopback that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """The two services in this process, each on a port of its own. Redis is away, as it may be."""
    make_keys(tmp_path / "keys", ["auth", "compliance"])
    auth_port, compliance_port = free_port(), free_port()
    common: dict[str, Any] = {
        "home": tmp_path,
        "metrics_port": 0,
        "auth_endpoint": f"127.0.0.1:{auth_port}",
        "compliance_endpoint": f"127.0.0.1:{compliance_port}",
        "redis_url": f"redis://127.0.0.1:{free_port()}/0",
        "drain_seconds": 0,
        "grace_seconds": 1,
    }
    auth = services.auth.wiring.build(
        services.auth.settings.Settings(**common, port=auth_port, argon2_memory_kib=64, argon2_iterations=1)
    )
    compliance = services.compliance.wiring.build(
        services.compliance.settings.Settings(**common, port=compliance_port, checkpoint_seconds=0.2)
    )
    async with (
        Host([auth, compliance]),
        grpc.aio.insecure_channel(f"127.0.0.1:{auth_port}") as to_auth,
        grpc.aio.insecure_channel(f"127.0.0.1:{compliance_port}") as to_compliance,
    ):
        accounts, consents = AuthServiceStub(to_auth), ConsentServiceStub(to_compliance)
        credentials = {"email": "alice@example.org", "password": "a rather long pass phrase"}
        account = auth_service_pb2.SignUpRequest(
            **credentials, display_name="Alice", tenant_display_name="Alice"
        )
        await until(lambda: accounts.SignUp(account))
        login = await accounts.LogIn(auth_service_pb2.LogInRequest(**credentials))
        token = [("authorization", f"Bearer {login.tokens.access_token}")]
        me = await until(lambda: accounts.WhoAmI(auth_service_pb2.WhoAmIRequest(), metadata=token))
        mine = consent_service_pb2.ListConsentsRequest(parent="users/me")
        await until(lambda: consents.ListConsents(mine, metadata=token))
        yield Mesh(tmp_path, to_compliance, consents, AuditServiceStub(to_compliance), me.user.name, token)


async def until(attempt: Callable[[], Any], seconds: float = 20) -> Any:
    """What the call answers once the services know what they must."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await attempt()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason in ErrorInfo."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


async def test_what_a_person_decides_is_recorded_and_provable(mesh: Mesh) -> None:
    purposes = await mesh.consents.ListPurposes(consent_service_pb2.ListPurposesRequest(language_code="fr"))
    notice = purposes.purposes[1]
    grant = consent_service_pb2.GrantConsentRequest(
        parent="users/me", purpose=PROFILE, notice_version=notice.version, language_code=notice.language_code
    )
    granted, grant_id = await mesh.call(mesh.consents.GrantConsent, grant)
    assert granted.consent.name == f"{mesh.user}/consents/listening-profile"
    assert granted.consent.text_digest == notice.text_digest
    withdraw = consent_service_pb2.WithdrawConsentRequest(name="users/me/consents/listening-profile")
    withdrawn, withdraw_id = await mesh.call(mesh.consents.WithdrawConsent, withdraw)
    assert withdrawn.consent.state == consent_pb2.CONSENT_STATE_WITHDRAWN

    anchor = checkpoint_public_key(mesh.home / "keys")
    for identifier, method in ((grant_id, "GrantConsent"), (withdraw_id, "WithdrawConsent")):
        proof, _ = await mesh.call(
            mesh.audit.GetProof, audit_service_pb2.GetProofRequest(name=f"users/me/records/{identifier}")
        )
        assert proof.record.record.method == f"polyphony.compliance.v1.ConsentService/{method}"
        assert f"users/{proof.record.record.subject}" == mesh.user
        way = InclusionProof(proof.proof.index, proof.proof.hashes)
        verify_receipt(proof.leaf, way, proof.checkpoint.note, anchor)
        with pytest.raises(ReceiptError):
            verify_receipt(proof.leaf + b"\0", way, proof.checkpoint.note, anchor)


async def test_every_call_is_recorded_once_even_those_that_read_the_records(mesh: Mesh) -> None:
    made: list[str] = []
    request = audit_service_pb2.ListRecordsRequest(parent="users/me", page_size=1000)
    for _ in range(3):
        _, identifier = await mesh.call(mesh.audit.ListRecords, request)
        made.append(identifier)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.call(
            mesh.consents.WithdrawConsent,
            consent_service_pb2.WithdrawConsentRequest(name="users/me/consents/never-given"),
        )
    assert reason(refused.value) == "RESOURCE_NOT_FOUND"
    made += [value for key, value in refused.value.trailing_metadata() or () if key == "polyphony-audit-id"]

    async def listed() -> list[str]:
        answer, _ = await mesh.call(mesh.audit.ListRecords, request)
        return [each.name.rpartition("/")[2] for each in answer.records]

    for _ in range(100):  # the relay brings them within a fraction of a second
        names = await listed()
        if set(made) <= set(names):
            break
        await asyncio.sleep(0.1)
    assert set(made) <= set(names)
    assert len(names) == len(set(names))


async def test_watching_shows_a_call_as_it_happens(mesh: Mesh) -> None:
    watch = mesh.audit.WatchRecords(
        audit_service_pb2.WatchRecordsRequest(parent="users/me"), metadata=mesh.token, timeout=20
    )
    first = asyncio.ensure_future(watch.read())
    await asyncio.sleep(0.5)
    _, identifier = await mesh.call(
        mesh.consents.ListConsents, consent_service_pb2.ListConsentsRequest(parent="users/me")
    )
    seen = [(await asyncio.wait_for(first, 10)).record.record.id]
    while identifier not in seen:
        seen.append((await asyncio.wait_for(watch.read(), 10)).record.record.id)
    watch.cancel()


async def test_what_is_for_services_is_closed_to_people(mesh: Mesh) -> None:
    ledger = AuditLedgerServiceStub(mesh.channel)
    request = audit_ledger_service_pb2.AppendRecordsRequest(records=encoded(record()))
    for metadata, expected in ((mesh.token, "CREDENTIAL_KIND_NOT_ACCEPTED"), ([], "CREDENTIAL_MISSING")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ledger.AppendRecords(request, metadata=metadata)
        assert reason(refused.value) == expected
        feed = ConsentFeedServiceStub(mesh.channel).SyncConsents(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await first_update(feed)
        assert reason(refused.value) == expected


async def first_update(feed: Any) -> Any:
    await feed.write(consent_feed_service_pb2.SyncConsentsRequest(follower="me", sequence=1))
    return await feed.read()


async def test_another_persons_consents_and_records_are_closed(mesh: Mesh) -> None:
    other = "users/0192f0a0-0000-7000-8000-000000000000"
    attempts = [
        (mesh.consents.ListConsents, consent_service_pb2.ListConsentsRequest(parent=other)),
        (mesh.audit.ListRecords, audit_service_pb2.ListRecordsRequest(parent=other)),
        (mesh.audit.GetProof, audit_service_pb2.GetProofRequest(name=f"{other}/records/x")),
        (
            mesh.consents.WithdrawConsent,
            consent_service_pb2.WithdrawConsentRequest(name=f"{other}/consents/listening-profile"),
        ),
    ]
    for method, request in attempts:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await mesh.call(method, request)
        assert reason(refused.value) in {"RESOURCE_NOT_OWNED", "RESOURCE_NOT_FOUND"}


async def test_a_notice_that_was_not_shown_is_not_agreed_to(mesh: Mesh) -> None:
    request = consent_service_pb2.GrantConsentRequest(
        parent="users/me", purpose=PROFILE, notice_version=9, language_code="en"
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.call(mesh.consents.GrantConsent, request)
    assert (refused.value.code(), reason(refused.value)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NOTICE_OUTDATED",
    )
