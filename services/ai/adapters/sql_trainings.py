"""Trainings in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.adapters.tables import TrainingRow
from services.ai.model import Stage, State, Training, VersionName
from services.runtime.persistence import Transaction


class SqlTrainings:
    """Trainings of the transaction's tenant."""

    def __init__(self, tx: Transaction) -> None:
        """Works in `tx`."""
        self._tx = tx

    def add(self, training: Training) -> None:
        """Stores a new one. Raises Fault STATE_CONFLICT while the person has another that has not ended."""
        for other in self.running(training.user):
            raise Fault(
                reason_pb2.REASON_STATE_CONFLICT,
                "A training of this person has not ended: wait for it or cancel it.",
                metadata={"resource": other.name},
            )
        row = TrainingRow(id=training.id, user=training.user, tenant=training.tenant)
        _fill(row, training)
        self._tx.session.add(row)

    def get(self, training: str, user: str) -> Training:
        """The one with this id. Raises Fault RESOURCE_NOT_FOUND where this person has none."""
        row = self._tx.session.scalar(
            select(TrainingRow).where(TrainingRow.id == training, TrainingRow.user == user)
        )
        if row is None:
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_FOUND,
                metadata={"resource": f"users/{user}/operations/{training}"},
            )
        return _training(row)

    def put(self, training: Training) -> None:
        """Stores its new state."""
        _fill(self._tx.require(TrainingRow, training.id, name=training.name), training)

    def running(self, user: str) -> Sequence[Training]:
        """Those of a person that have not ended."""
        rows = self._tx.session.scalars(
            select(TrainingRow).where(TrainingRow.user == user, TrainingRow.state < State.SUCCEEDED)
        )
        return [_training(row) for row in rows]

    def unfinished(self, trainings: Sequence[str]) -> frozenset[str]:
        """Those of the ids that belong to trainings which have not ended; in a transaction EVERYWHERE."""
        rows = self._tx.session.scalars(
            select(TrainingRow.id).where(TrainingRow.id.in_(trainings), TrainingRow.state < State.SUCCEEDED)
        )
        return frozenset(rows)

    def next_free(self, now: datetime) -> Training | None:
        """The oldest that waits, or whose worker's lease has run out; in a transaction EVERYWHERE."""
        row = self._tx.session.scalar(
            select(TrainingRow)
            .where(
                or_(
                    TrainingRow.state == State.QUEUED,
                    and_(TrainingRow.state == State.RUNNING, TrainingRow.lease_until < now),
                )
            )
            .order_by(TrainingRow.create_time, TrainingRow.id)
            .limit(1)
        )
        return None if row is None else _training(row)


def _fill(row: TrainingRow, training: Training) -> None:
    row.half_life_days = training.half_life_days
    row.consent_record = training.consent_record
    row.state = int(training.state)
    row.stage = training.stage.value
    row.progress = training.progress
    row.plays_read = training.plays_read
    row.model = training.version.model if training.version else None
    row.version_number = training.version.number if training.version else None
    row.failure_reason = training.failure_reason
    row.failure_message = training.failure_message
    row.worker = training.worker
    row.lease_until = training.lease_until
    row.attempts = training.attempts
    row.create_time = training.created
    row.update_time = training.updated


def _training(row: TrainingRow) -> Training:
    version = None
    if row.model is not None and row.version_number is not None:
        version = VersionName(row.user, row.model, row.version_number)
    return Training(
        id=row.id,
        tenant=row.tenant,
        user=row.user,
        half_life_days=row.half_life_days,
        consent_record=row.consent_record,
        created=row.create_time,
        updated=row.update_time,
        state=State(row.state),
        stage=Stage(row.stage),
        progress=row.progress,
        plays_read=row.plays_read,
        version=version,
        failure_reason=row.failure_reason,
        failure_message=row.failure_message,
        worker=row.worker,
        lease_until=row.lease_until,
        attempts=row.attempts,
    )
