"""Consent decisions in the database, and their versions as the feed reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_

from polyphony.compliance.v1 import consent_events_pb2
from services.compliance.adapters.tables import ConsentDecision, ConsentHead
from services.compliance.model import Catalogue, Choice, Decision, State, state_of
from services.compliance.purpose_ids import purpose_number
from services.runtime.persistence import SYSTEM, Database, Transaction


class SqlDecisions:
    """The :class:`~services.compliance.ports.Decisions` of one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.version = 0
        """The version of the consent state that holds what was appended or read here."""

    def last(self, user: str, purpose: str) -> Decision | None:
        """The newest decision of a person on a purpose."""
        row = self._tx.session.scalars(
            select(ConsentDecision)
            .where(ConsentDecision.user == user, ConsentDecision.purpose == purpose)
            .order_by(ConsentDecision.revision.desc())
            .limit(1)
        ).first()
        if row is None:
            return None
        self.version = row.version
        return to_decision(row)

    def append(self, decision: Decision) -> None:
        """Records a decision under the next version, and its event in the outbox."""
        head = self._tx.session.get_one(ConsentHead, 1, with_for_update=True)
        head.version += 1
        self.version = head.version
        self._tx.session.add(
            ConsentDecision(
                user=decision.user,
                purpose=decision.purpose,
                revision=decision.revision,
                id=decision.id,
                version=head.version,
                choice=decision.choice.value,
                notice_version=decision.notice_version,
                notice_language=decision.notice_language,
                notice_digest=decision.notice_digest,
                time=decision.time,
                actor=decision.actor,
            )
        )
        self._tx.emit(_event(decision), subject=f"users/{decision.user}/consents/{decision.purpose}")


def to_decision(row: ConsentDecision) -> Decision:
    """The entity of a row."""
    return Decision(
        id=row.id,
        user=row.user,
        purpose=row.purpose,
        revision=row.revision,
        choice=Choice(row.choice),
        notice_version=row.notice_version,
        notice_language=row.notice_language,
        notice_digest=row.notice_digest,
        time=row.time,
        actor=row.actor,
    )


def _event(decision: Decision) -> consent_events_pb2.ConsentGranted | consent_events_pb2.ConsentWithdrawn:
    purpose = purpose_number(decision.purpose)
    if decision.choice is Choice.WITHDRAWN:
        return consent_events_pb2.ConsentWithdrawn(user=decision.user, purpose=purpose, record=decision.id)
    return consent_events_pb2.ConsentGranted(
        user=decision.user, purpose=purpose, notice_version=decision.notice_version, record=decision.id
    )


@dataclass(frozen=True, slots=True)
class SubjectState:
    """What one person's last decision on one purpose amounts to."""

    tenant: str
    user: str
    purpose: str
    state: State
    record: str


class ConsentSource:
    """The consent state of all tenants with its versions: a ``FeedSource`` of the runtime's feeds."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def version(self) -> int:
        """The newest committed version."""
        return await self._database.read(_head, tenant=SYSTEM)

    async def snapshot(self) -> tuple[int, Sequence[SubjectState]]:
        """Every current state."""
        return await self._database.read(self._snapshot, tenant=SYSTEM)

    async def changes_after(self, version: int) -> Sequence[tuple[int, SubjectState]]:
        """Every decision since ``version``, in the order of their commits."""

        def read(tx: Transaction) -> list[tuple[int, SubjectState]]:
            rows = tx.session.scalars(
                select(ConsentDecision)
                .where(ConsentDecision.version > version)
                .order_by(ConsentDecision.version)
            )
            return [(row.version, self._state(row)) for row in rows]

        return await self._database.read(read, tenant=SYSTEM)

    def _snapshot(self, tx: Transaction) -> tuple[int, list[SubjectState]]:
        key = (ConsentDecision.tenant, ConsentDecision.user, ConsentDecision.purpose)
        newest = select(*key, func.max(ConsentDecision.revision)).group_by(*key)
        rows = tx.session.scalars(
            select(ConsentDecision).where(tuple_(*key, ConsentDecision.revision).in_(newest))
        )
        return _head(tx), [self._state(row) for row in rows]

    def _state(self, row: ConsentDecision) -> SubjectState:
        state = state_of(to_decision(row), self._catalogue)
        return SubjectState(row.tenant, row.user, row.purpose, state, row.id)


def _head(tx: Transaction) -> int:
    return tx.session.get_one(ConsentHead, 1).version
