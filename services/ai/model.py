"""Entities and rules of the ai domain: trainings, models, their versions and the names that point at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.training import INPUTS, OUTPUTS, Journal, Quality, Recipe, Tensor, Trained

CHAMPION = "champion"
"""The alias whose version answers where a call names none."""

_MOST_DIGITS = 10
"""A version's number has fewer digits: a longer one fits into no column of the database."""

MOST_SEEDS = 50
"""Seeds that one recommendation goes on from at most."""


class State(IntEnum):
    """What state a training is in; the numbers are the contract's."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def done(self) -> bool:
        """Whether the training has ended, in whatever way."""
        return self >= State.SUCCEEDED


class Stage(StrEnum):
    """What a training does now."""

    QUEUED = "queued"
    READING = "reading"
    LEARNING = "learning"
    EXPORTING = "exporting"
    LOADING = "loading"
    DONE = "done"


PROGRESS = {
    Stage.QUEUED: 0.0,
    Stage.READING: 0.05,
    Stage.LEARNING: 0.4,
    Stage.EXPORTING: 0.8,
    Stage.LOADING: 0.9,
}
"""How far a training is when a stage begins."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training from the asking to its end. `id` is also the id of the version that it makes.

    A worker holds it until `lease_until` and renews that; whoever finds the lease run out takes the work over.
    """

    id: str
    tenant: str
    user: str
    half_life_days: int
    consent_record: str
    created: datetime
    updated: datetime
    state: State = State.QUEUED
    stage: Stage = Stage.QUEUED
    progress: float = 0.0
    plays_read: int = 0
    version: VersionName | None = None
    failure_reason: str = ""
    failure_message: str = ""
    worker: str = ""
    lease_until: datetime | None = None
    attempts: int = 0

    @property
    def name(self) -> str:
        """The resource name."""
        return f"users/{self.user}/operations/{self.id}"

    def taken(self, worker: str, now: datetime, lease: timedelta) -> Training:
        """In the hands of `worker`, from the start: an interrupted attempt leaves nothing behind."""
        return replace(
            self,
            state=State.RUNNING,
            stage=Stage.READING,
            progress=PROGRESS[Stage.READING],
            plays_read=0,
            worker=worker,
            lease_until=now + lease,
            attempts=self.attempts + 1,
            updated=now,
        )

    def moved(self, stage: Stage, now: datetime, lease: timedelta, *, plays_read: int) -> Training:
        """At a stage, with the lease renewed. Progress never goes back."""
        return replace(
            self,
            stage=stage,
            progress=max(self.progress, PROGRESS[stage]),
            plays_read=plays_read,
            lease_until=now + lease,
            updated=now,
        )

    def ended(self, state: State, now: datetime, *, reason: str = "", message: str = "") -> Training:
        """Ended without a version; one that ended before stays as it is."""
        if self.state.done:
            return self
        return replace(
            self,
            state=state,
            stage=Stage.DONE,
            failure_reason=reason,
            failure_message=message,
            lease_until=None,
            updated=now,
        )

    def succeeded(self, version: VersionName, now: datetime) -> Training:
        """Ended with a version."""
        return replace(
            self,
            state=State.SUCCEEDED,
            stage=Stage.DONE,
            progress=1.0,
            version=version,
            lease_until=None,
            updated=now,
        )


@dataclass(frozen=True, slots=True)
class VersionName:
    """Names a version: the owner, the model's id and the version's number, counted from 1."""

    user: str
    model: str
    number: int

    def __str__(self) -> str:
        return f"users/{self.user}/models/{self.model}/versions/{self.number}"

    @classmethod
    def parse(cls, text: str, *, field: str) -> VersionName:
        """The name in `text`. Raises Fault REQUEST_INVALID, naming `field`, when it is none."""
        match text.split("/"):
            case ["users", user, "models", model, "versions", number] if (
                number.isdecimal() and number.isascii() and len(number) < _MOST_DIGITS
            ):
                return cls(user, model, int(number))
        raise Fault(
            reason_pb2.REASON_REQUEST_INVALID,
            "A version is named users/{user}/models/{model}/versions/{version}.",
            field=field,
        )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a version was trained on: counts, the time of the first and the last play, and the consent entry."""

    plays: int
    tracks: int
    first: datetime
    last: datetime
    consent_record: str


@dataclass(frozen=True, slots=True)
class Version:
    """One trained model; nothing of it ever changes but that it can be quarantined."""

    id: str
    tenant: str
    name: VersionName
    digest: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    data: TrainingData
    quality: Quality
    half_life_days: int
    created: datetime
    quarantined: datetime | None = None

    @property
    def recipe(self) -> Recipe:
        """What it was trained with."""
        return Recipe(half_life_days=float(self.half_life_days))

    def require_usable(self) -> Version:
        """Itself. Raises Fault MODEL_QUARANTINED when what it was made of may not be used any more."""
        if self.quarantined is not None:
            raise Fault(reason_pb2.REASON_MODEL_QUARANTINED, metadata={"resource": str(self.name)})
        return self


def version_of(training: Training, journal: Journal, trained: Trained, consent_record: str) -> Version:
    """The version that a training has made, before a model gives it its name."""
    first, last = journal.period
    return Version(
        id=training.id,
        tenant=training.tenant,
        name=VersionName(training.user, "unregistered", 0),
        digest=trained.digest,
        inputs=INPUTS,
        outputs=OUTPUTS,
        data=TrainingData(
            plays=len(journal),
            tracks=len(journal.tracks),
            first=datetime.fromtimestamp(first, UTC),
            last=datetime.fromtimestamp(last, UTC),
            consent_record=consent_record,
        ),
        quality=trained.quality,
        half_life_days=training.half_life_days,
        created=training.updated,
    )


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a version consists of: the ONNX file and the packed listening journal that explains its answers."""

    onnx: bytes
    journal: bytes


@dataclass(frozen=True, slots=True)
class AliasChange:
    """A change of an alias: to a version or, where that is None, its removal. `actor` is a user id or a service."""

    alias: str
    version: int | None
    when: datetime
    actor: str
    comment: str


@dataclass(frozen=True, slots=True)
class Model:
    """A person's model. Versions and changes are newest first; `aliases` maps each to a version's number."""

    id: str
    user: str
    created: datetime
    etag: str
    versions: tuple[Version, ...]
    aliases: dict[str, int]
    changes: tuple[AliasChange, ...]

    @property
    def name(self) -> str:
        """The resource name."""
        return f"users/{self.user}/models/{self.id}"


def no_champion(model: Model | None) -> Fault:
    """Why a person has no version that can answer."""
    if model is None or not model.versions:
        return Fault(reason_pb2.REASON_MODEL_NOT_TRAINED)
    if model.versions[0].quarantined is not None:
        return Fault(reason_pb2.REASON_MODEL_QUARANTINED, metadata={"resource": str(model.versions[0].name)})
    return Fault(
        reason_pb2.REASON_MODEL_NOT_TRAINED,
        "No version of the model is the champion: point the alias at one, or train again.",
        metadata={"resource": model.name},
    )
