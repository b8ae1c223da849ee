"""ConsentService: translates between the contract and the use cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select
from sqlalchemy.orm import aliased

from interceptors.call import current_call
from interceptors.faults import Fault, Precondition
from interceptors.ids import new_id
from interceptors.ports import Replayed
from polyphony.compliance.v1 import consent_pb2
from polyphony.compliance.v1 import consent_service_pb2 as pb
from polyphony.compliance.v1.consent_service_pb2_grpc import ConsentServiceServicer
from polyphony.errors.v1 import reason_pb2
from services.compliance.adapters.decisions import SqlDecisions, SubjectState, to_decision
from services.compliance.adapters.tables import ConsentDecision
from services.compliance.model import (
    Catalogue,
    Decision,
    LanguageNotOffered,
    NeverDecided,
    NotAsked,
    Notice,
    NoticeOutdated,
    State,
    state_of,
)
from services.compliance.purpose_ids import purpose_id, purpose_number
from services.compliance.usecases.decide import grant, withdraw
from services.runtime.feeds import Feed, NotAcknowledged
from services.runtime.persistence import Database, Page, Transaction

STATES = {
    State.GRANTED: consent_pb2.CONSENT_STATE_GRANTED,
    State.WITHDRAWN: consent_pb2.CONSENT_STATE_WITHDRAWN,
    State.OUTDATED: consent_pb2.CONSENT_STATE_OUTDATED,
}

DEFAULT_PAGE_SIZE = 50

R = TypeVar("R")


class ConsentService(ConsentServiceServicer):
    """What people permit, purpose by purpose.

    A grant or a withdrawal is answered once every service that answers calls knows of it. ``methods`` names, per
    purpose, the methods that it permits.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        feed: Feed[Sequence[SubjectState], SubjectState],
        methods: Mapping[str, Sequence[str]],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._feed = feed
        self._methods = methods

    async def ListPurposes(self, request: pb.ListPurposesRequest, context: Any) -> pb.ListPurposesResponse:
        """The current notice of every purpose, in the best language there is for the one asked for."""
        notices = [self._notice(notice, request.language_code) for notice in self._catalogue]
        return pb.ListPurposesResponse(purposes=notices)

    async def GrantConsent(self, request: pb.GrantConsentRequest, context: Any) -> pb.GrantConsentResponse:
        """Records a consent and waits until every service knows."""
        user = _part(request.parent, 1)
        version = 0

        def work(tx: Transaction) -> pb.GrantConsentResponse:
            nonlocal version
            decisions = SqlDecisions(tx)
            decision = grant(
                decisions,
                self._catalogue,
                user=user,
                purpose=purpose_id(request.purpose),
                version=request.notice_version,
                language=request.language_code,
                actor=_actor(),
                now=tx.now,
                new_id=new_id,
            )
            version = decisions.version
            return pb.GrantConsentResponse(consent=self._consent(decision))

        with _faults():
            response = await self._decide(work)
        await self._announce(version)
        return response

    async def WithdrawConsent(
        self, request: pb.WithdrawConsentRequest, context: Any
    ) -> pb.WithdrawConsentResponse:
        """Records a withdrawal and waits until every service refuses what it no longer covers."""
        user, purpose = _part(request.name, 1), _part(request.name, 3)
        version = 0

        def work(tx: Transaction) -> pb.WithdrawConsentResponse:
            nonlocal version
            decisions = SqlDecisions(tx)
            decision = withdraw(
                decisions, user=user, purpose=purpose, actor=_actor(), now=tx.now, new_id=new_id
            )
            version = decisions.version
            return pb.WithdrawConsentResponse(consent=self._consent(decision))

        with _faults(request.name):
            response = await self._decide(work)
        await self._announce(version)
        return response

    async def ListConsents(self, request: pb.ListConsentsRequest, context: Any) -> pb.ListConsentsResponse:
        """The consents of a person as they stand, by purpose."""
        user = _part(request.parent, 1)
        later = aliased(ConsentDecision)
        newest = select(ConsentDecision).where(
            ConsentDecision.user == user,
            ~select(later.revision)
            .where(
                later.user == ConsentDecision.user,
                later.purpose == ConsentDecision.purpose,
                later.revision > ConsentDecision.revision,
                later.tenant == ConsentDecision.tenant,
            )
            .exists(),
        )

        def read(tx: Transaction) -> Page[ConsentDecision]:
            return tx.page(
                newest,
                by=[ConsentDecision.purpose],
                size=request.page_size or DEFAULT_PAGE_SIZE,
                token=request.page_token,
                bound=(request.parent,),
            )

        page = await self._database.read(read)
        return pb.ListConsentsResponse(
            consents=[self._consent(to_decision(row)) for row in page.items],
            next_page_token=page.next_page_token,
        )

    async def _decide(self, work: Callable[[Transaction], R]) -> R:
        try:
            return await self._database.write(work)
        except Replayed:
            # The first call may have ended before everybody knew; its answer says that they do.
            await self._announce(await self._feed.refresh())
            raise

    async def _announce(self, version: int) -> None:
        try:
            await self._feed.publish(version)
        except NotAcknowledged:
            raise Fault(
                reason_pb2.REASON_DEPENDENCY_UNAVAILABLE,
                "The decision is recorded, but not every service has confirmed that it knows.",
                metadata={"service": "consent feed"},
                retry_after=1.0,
            ) from None

    def _notice(self, notice: Notice, wanted: str) -> consent_pb2.PurposeNotice:
        language = notice.language(wanted)
        wording = notice.wordings[language]
        return consent_pb2.PurposeNotice(
            purpose=purpose_number(notice.purpose),
            id=notice.purpose,
            version=notice.version,
            language_code=language,
            title=wording.title,
            text=wording.text,
            text_digest=notice.digest(language),
            methods=self._methods.get(notice.purpose, ()),
        )

    def _consent(self, decision: Decision) -> consent_pb2.Consent:
        time = Timestamp()
        time.FromDatetime(decision.time)
        return consent_pb2.Consent(
            name=f"users/{decision.user}/consents/{decision.purpose}",
            purpose=purpose_number(decision.purpose),
            state=STATES[state_of(decision, self._catalogue)],
            notice_version=decision.notice_version,
            language_code=decision.notice_language,
            text_digest=decision.notice_digest,
            update_time=time,
            record=decision.id,
            etag=decision.id,  # every revision has an id of its own
        )


def _part(name: str, index: int) -> str:
    """A part of a resource name, whose pattern the road has checked."""
    return name.split("/")[index]


def _actor() -> str:
    call = current_call()
    if call is None:
        raise RuntimeError("a decision is recorded inside a call only")
    return call.identity.actor or call.identity.user


@contextmanager
def _faults(name: str = "") -> Iterator[None]:
    """Says in the contract's words why a decision could not be recorded."""
    try:
        yield
    except NotAsked:
        raise Fault(
            reason_pb2.REASON_REQUEST_INVALID,
            "Nobody is asked to consent to this purpose; ListPurposes has those that need it.",
            field="purpose",
        ) from None
    except LanguageNotOffered as error:
        raise Fault(reason_pb2.REASON_REQUEST_INVALID, f"{error}.", field="language_code") from None
    except NoticeOutdated as error:
        raise Fault(
            reason_pb2.REASON_NOTICE_OUTDATED,
            f"Notice {error.shown} was shown, the current one is {error.current}.",
            preconditions=[Precondition("NOTICE", error.purpose, f"version {error.current} must be shown")],
            metadata={"current_version": str(error.current)},
        ) from None
    except NeverDecided:
        raise Fault(
            reason_pb2.REASON_RESOURCE_NOT_FOUND,
            "This person has never consented to this purpose.",
            metadata={"resource": name},
        ) from None
