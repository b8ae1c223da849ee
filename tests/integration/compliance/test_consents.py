"""ConsentService and its feed over SQLite and PostgreSQL: what is answered, what followers then know."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from interceptors.call import current_call
from interceptors.faults import Fault
from interceptors.ports import ConsentState, Replayed, ReplayKey
from interceptors.steps.idempotency import _ReplayWithCommit
from polyphony.compliance.v1 import consent_pb2
from polyphony.compliance.v1 import consent_service_pb2 as pb
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from services.compliance import consent_feed_servicer
from services.compliance.adapters.decisions import ConsentSource
from services.compliance.adapters.tables import ConsentDecision
from services.compliance.consent_feed_servicer import ConsentFeedService
from services.compliance.consent_servicer import ConsentService
from services.compliance.model import Catalogue, Notice, Wording
from services.compliance.purpose_methods import methods_by_purpose
from services.compliance.purposes import CATALOGUE
from services.runtime.consents import Consents
from services.runtime.feeds import Feed, SqlFeedBoard
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.persistence import SYSTEM, Database
from services.runtime.persistence.tables import event_outbox
from tests.integration.compliance.conftest import TENANT, OpenDatabase, call_as

PROFILE = policy_pb2.PURPOSE_LISTENING_PROFILE
LEASE = 1.0


@dataclass
class Worker:
    """One compliance worker without its gRPC server."""

    service: ConsentService
    feed_service: ConsentFeedService

    async def grant(
        self, purpose: int = PROFILE, version: int = 1, language: str = "en"
    ) -> consent_pb2.Consent:
        call_as("alice", "ConsentService/GrantConsent")
        request = pb.GrantConsentRequest(
            parent="users/alice", purpose=purpose, notice_version=version, language_code=language
        )  # type: ignore[arg-type]
        return (await self.service.GrantConsent(request, None)).consent

    async def withdraw(self, purpose: str = "listening-profile") -> consent_pb2.Consent:
        call_as("alice", "ConsentService/WithdrawConsent")
        request = pb.WithdrawConsentRequest(name=f"users/alice/consents/{purpose}")
        return (await self.service.WithdrawConsent(request, None)).consent

    async def list(self, size: int = 0) -> list[consent_pb2.Consent]:
        call_as("alice", "ConsentService/ListConsents")
        found: list[consent_pb2.Consent] = []
        token = ""
        while True:
            request = pb.ListConsentsRequest(parent="users/alice", page_size=size, page_token=token)
            answer = await self.service.ListConsents(request, None)
            found += answer.consents
            token = answer.next_page_token
            if not token:
                return found

    @asynccontextmanager
    async def follower(self, name: str) -> AsyncIterator[Consents]:
        """A service that decides by this worker's feed."""
        consents = Consents(lambda requests: self.feed_service.SyncConsents(requests, None), follower=name)
        running = asyncio.create_task(consents.follower.run())
        try:
            await consents.follower.ready(5)
            yield consents
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def worker(database: Database, catalogue: Catalogue = CATALOGUE) -> AsyncIterator[Worker]:
    board = SqlFeedBoard(database, "consents")
    feed = Feed(ConsentSource(database, catalogue), lease=LEASE, heartbeat=0.1, poll=0.05, board=board)
    running = asyncio.create_task(feed.run())
    try:
        yield Worker(
            ConsentService(database, catalogue, feed, methods_by_purpose()), ConsentFeedService(feed)
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Worker]:
    async with worker(database) as one:
        yield one


async def test_purposes_are_told_in_the_language_asked_for(desk: Worker) -> None:
    answer = await desk.service.ListPurposes(pb.ListPurposesRequest(language_code="fr-CA"), None)
    assert [notice.id for notice in answer.purposes] == [
        "import-history",
        "listening-profile",
        "personalised-recommendations",
    ]
    profile = answer.purposes[1]
    assert (profile.language_code, profile.version, profile.purpose) == ("fr", 1, PROFILE)
    assert "polyphony.spotify.v1.UserDataService/GetListeningProfile" in profile.methods
    assert len(profile.text_digest) == 64


async def test_the_english_notice_is_the_contracts_own(desk: Worker) -> None:
    answer = await desk.service.ListPurposes(pb.ListPurposesRequest(), None)
    for notice in answer.purposes:
        value = policy_pb2.Purpose.DESCRIPTOR.values_by_number[notice.purpose]
        declared = value.GetOptions().Extensions[policy_pb2.purpose]
        assert (declared.title, declared.description) == (notice.title, notice.text)
    consentable = set(methods_by_purpose())
    assert consentable == {notice.id for notice in answer.purposes}


async def test_a_follower_knows_before_the_caller_is_answered(desk: Worker) -> None:
    async with desk.follower("spotify-0") as spotify, desk.follower("ai-0") as ai:

        def seen() -> set[ConsentState]:
            return {service.check(TENANT, "alice", PROFILE).state for service in (spotify, ai)}

        assert seen() == {ConsentState.REQUIRED}
        for _ in range(5):
            granted = await desk.grant()
            assert seen() == {ConsentState.GRANTED}
            assert spotify.check(TENANT, "alice", PROFILE).record == granted.record
            assert spotify.check("other", "alice", PROFILE).state is ConsentState.REQUIRED
            withdrawn = await desk.withdraw()
            assert seen() == {ConsentState.WITHDRAWN}
            assert withdrawn.state == consent_pb2.CONSENT_STATE_WITHDRAWN


async def test_a_follower_that_cannot_hear_is_waited_for_until_it_answers_nobody(desk: Worker) -> None:
    async with desk.follower("deaf-0") as deaf:
        await desk.grant()
        deaf.follower._apply = deaf.follower._replace = _never  # type: ignore[method-assign, assignment]
        began = asyncio.get_running_loop().time()
        await desk.withdraw()
        with pytest.raises(Fault) as refused:
            deaf.check(TENANT, "alice", PROFILE)
        assert refused.value.reason == reason_pb2.REASON_CONSENT_STALE
        assert asyncio.get_running_loop().time() - began <= 3 * LEASE


def _never(_: object) -> None:
    raise RuntimeError("cannot be applied")


async def test_two_workers_keep_the_promise_for_each_other(
    open_database: OpenDatabase, database: Database
) -> None:
    second = open_database()
    await second.start()
    try:
        async with (
            worker(database) as here,
            worker(second) as there,
            there.follower("spotify-0") as spotify,
        ):
            for _ in range(3):
                await here.grant()
                assert spotify.check(TENANT, "alice", PROFILE).state is ConsentState.GRANTED
                await here.withdraw()
                assert spotify.check(TENANT, "alice", PROFILE).state is ConsentState.WITHDRAWN
    finally:
        await second.close()


async def test_a_snapshot_larger_than_a_message_arrives_whole(
    desk: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent_feed_servicer, "MAX_CONSENTS_PER_MESSAGE", 2)
    for purpose in (
        policy_pb2.PURPOSE_IMPORT_HISTORY,
        PROFILE,
        policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS,
    ):
        await desk.grant(purpose)
    async with desk.follower("late-0") as late:
        for purpose in (2, 3, 4):
            assert late.check(TENANT, "alice", purpose).state is ConsentState.GRANTED


async def test_history_is_kept_and_the_present_is_listed(desk: Worker, database: Database) -> None:
    await desk.grant(policy_pb2.PURPOSE_IMPORT_HISTORY)
    first = await desk.grant(language="fr")
    assert await desk.grant() == first, "a repeated grant changes nothing"
    await desk.withdraw()
    third = await desk.grant()
    assert (third.language_code, third.etag != first.etag) == ("en", True)
    for size in (0, 1):
        assert [(each.name, each.state) for each in await desk.list(size)] == [
            ("users/alice/consents/import-history", consent_pb2.CONSENT_STATE_GRANTED),
            ("users/alice/consents/listening-profile", consent_pb2.CONSENT_STATE_GRANTED),
        ]
    history = await database.read(
        lambda tx: [
            (row.choice, row.revision, row.notice_language)
            for row in tx.session.scalars(
                select(ConsentDecision)
                .where(ConsentDecision.purpose == "listening-profile")
                .order_by(ConsentDecision.version)
            )
        ],
        tenant=TENANT,
    )
    assert history == [("granted", 1, "fr"), ("withdrawn", 2, "fr"), ("granted", 3, "en")]


async def test_a_new_notice_ends_what_the_old_one_permitted(database: Database) -> None:
    newer = Catalogue(*CATALOGUE, Notice("listening-profile", 2, {"en": Wording("New", "words")}))
    async with worker(database) as before:
        await before.grant()
    async with worker(database, newer) as after, after.follower("spotify-0") as spotify:
        assert [each.state for each in await after.list()] == [consent_pb2.CONSENT_STATE_OUTDATED]
        assert spotify.check(TENANT, "alice", PROFILE).state is ConsentState.REQUIRED
        fault = await refused(after.grant(version=1))
        assert (fault.reason, fault.metadata["current_version"]) == (reason_pb2.REASON_NOTICE_OUTDATED, "2")
        await after.grant(version=2)
        assert spotify.check(TENANT, "alice", PROFILE).state is ConsentState.GRANTED


async def test_what_cannot_be_decided_says_why(desk: Worker) -> None:
    assert (await refused(desk.grant(policy_pb2.PURPOSE_ACCOUNT))).fields[0].path == "purpose"
    assert (await refused(desk.grant(language="de"))).fields[0].path == "language_code"
    assert (await refused(desk.withdraw())).reason == reason_pb2.REASON_RESOURCE_NOT_FOUND
    assert (await refused(desk.withdraw("no-such-purpose"))).reason == reason_pb2.REASON_RESOURCE_NOT_FOUND
    assert await desk.list() == []


async def test_every_change_is_announced_once(desk: Worker, database: Database) -> None:
    await desk.grant()
    await desk.grant()
    await desk.withdraw()
    await desk.withdraw()
    events = await database.read(
        lambda tx: [
            (row.type, row.tenant, row.subject)
            for row in tx.connection.execute(select(event_outbox).order_by(event_outbox.c.id))
        ],
        tenant=SYSTEM,
    )
    subject = "users/alice/consents/listening-profile"
    assert events == [
        ("polyphony.compliance.v1.ConsentGranted", TENANT, subject),
        ("polyphony.compliance.v1.ConsentWithdrawn", TENANT, subject),
    ]


async def test_racing_decisions_leave_one_history(desk: Worker, database: Database) -> None:
    async def race(action: Callable[[], object]) -> None:
        await action()  # type: ignore[misc]

    await desk.grant()
    await asyncio.gather(*(race(desk.withdraw if n % 2 else desk.grant) for n in range(12)))
    rows = await database.read(
        lambda tx: [
            (r.revision, r.version, r.choice)
            for r in tx.session.scalars(select(ConsentDecision).order_by(ConsentDecision.version))
        ],
        tenant=TENANT,
    )
    assert [revision for revision, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(a[2] != b[2] for a, b in itertools.pairwise(rows))


async def refused(call: object) -> Fault:
    with pytest.raises(Fault) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_repeated_withdrawal_waits_as_the_first_one_did(desk: Worker, database: Database) -> None:
    """The first call's caller went away while a service had not heard: the stored answer must not outrun the news."""
    store = DatabaseIdempotencyStore(database)
    method = "polyphony.compliance.v1.ConsentService/WithdrawConsent"
    key = ReplayKey(TENANT, "alice", method, "r-1", b"d", 60.0)

    async def withdraw() -> None:
        call_as("alice", "ConsentService/WithdrawConsent")
        call = current_call()
        assert call is not None
        call.participants.append(_ReplayWithCommit(store, key))
        await desk.service.WithdrawConsent(
            pb.WithdrawConsentRequest(name="users/alice/consents/listening-profile"), None
        )

    async with desk.follower("deaf-0") as deaf:
        await desk.grant()
        deaf.follower._apply = deaf.follower._replace = _never  # type: ignore[method-assign, assignment]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(withdraw(), 0.1)
        with pytest.raises(Replayed):
            await withdraw()
        with pytest.raises(Fault) as refused:
            deaf.check(TENANT, "alice", PROFILE)
        assert refused.value.reason == reason_pb2.REASON_CONSENT_STALE
