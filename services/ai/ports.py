"""What the ai domain needs from outside, as Protocols that the adapters fill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from services.ai.model import Artefact, Model, Training, Version
from services.ai.training import Play

R = TypeVar("R")

EVERYWHERE = "*"
"""The scope of the worker that looks for trainings of any tenant."""


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Models and the token of the next page; it is empty on the last one."""

    models: tuple[Model, ...]
    next_page_token: str


class Trainings(Protocol):
    """Trainings of the transaction's tenant."""

    def add(self, training: Training) -> None:
        """Stores a new one. Raises Fault STATE_CONFLICT while the person has another that has not ended."""

    def get(self, training: str, user: str) -> Training:
        """The one with this id. Raises Fault RESOURCE_NOT_FOUND where this person has none."""

    def put(self, training: Training) -> None:
        """Stores its new state."""

    def running(self, user: str) -> Sequence[Training]:
        """Those of a person that have not ended."""

    def unfinished(self, trainings: Sequence[str]) -> frozenset[str]:
        """Those of the ids that belong to trainings which have not ended; in a transaction EVERYWHERE."""

    def next_free(self, now: datetime) -> Training | None:
        """The oldest that waits, or whose worker's lease has run out; in a transaction EVERYWHERE."""


class Models(Protocol):
    """Models, versions and aliases of the transaction's tenant."""

    def of(self, user: str) -> Model | None:
        """The person's model, with versions and aliases."""

    def page(self, user: str, size: int, token: str) -> ModelPage:
        """One page of a person's models, the oldest first. Raises Fault PAGE_TOKEN_INVALID."""

    def get(self, model: str, user: str) -> Model:
        """The model with this id. Raises Fault RESOURCE_NOT_FOUND where this person has none."""

    def register(self, version: Callable[[str, int], Version], artefact: Artefact, user: str) -> Version:
        """Stores a new version, made from its model's id and its number; the first one makes the model."""

    def meant(self, user: str, alias: str, model: str = "") -> Version | None:
        """The version that an alias of the person's model (the one named, if any) means; quick, and without the rest
        of the model."""

    def version(self, model: str, user: str, number: int) -> Version:
        """A version. Raises Fault RESOURCE_NOT_FOUND where this person has none of that number."""

    def point(
        self, model: str, alias: str, number: int | None, *, actor: str, comment: str, etag: str = ""
    ) -> None:
        """Points an alias at a version, or removes it, and writes that down. What is so already is not written again.
        Raises Fault ETAG_MISMATCH."""

    def artefact(self, version: Version) -> Artefact:
        """What a version consists of. Raises Fault MODEL_QUARANTINED when it was destroyed."""

    def usable(self, versions: Sequence[str]) -> frozenset[str]:
        """Those of the ids that belong to versions which may be used; in a transaction EVERYWHERE."""

    def quarantine(self, user: str, before: datetime, now: datetime) -> Sequence[Version]:
        """Puts aside every version whose training was asked for until `before`: takes their aliases away and destroys
        their artefacts. Returns every quarantined version of the person, so that doing it again finishes what was
        interrupted."""


class Stores(Protocol):
    """What one transaction can reach."""

    @property
    def now(self) -> datetime:
        """The time of the transaction, UTC."""

    @property
    def trainings(self) -> Trainings:
        """Trainings."""

    @property
    def models(self) -> Models:
        """Models."""

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Runs `callback` on the event loop once the transaction has committed."""


class Storage(Protocol):
    """Runs work in one transaction, on a worker thread. Work must bear being run again from its start."""

    async def read(self, work: Callable[[Stores], R], *, tenant: str | None = None) -> R:
        """Runs `work` on one snapshot; the tenant is the running call's unless it is named."""

    async def write(self, work: Callable[[Stores], R], *, tenant: str | None = None) -> R:
        """Runs `work` as one change. Within a call it is THE change of that call and its result is the answer."""


class PlaySource(Protocol):
    """A person's consented plays, wherever they are kept."""

    def pages(self, tenant: str, user: str) -> AsyncIterator[Sequence[Play]]:
        """The person's plays of music, oldest first, in pages. Raises Fault CONSENT_* when the person does not permit
        personalised recommendations, DEPENDENCY_UNAVAILABLE when they cannot be had now."""


class Consents(Protocol):
    """What people permit at this moment."""

    def require(self, tenant: str, user: str) -> str:
        """The id of the consent entry for personalised recommendations. Raises Fault CONSENT_*."""


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor with its content: row-major, little-endian bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


class ModelServer(Protocol):
    """The inference server, which holds the versions that are in use."""

    async def load(self, version: Version, onnx: bytes) -> None:
        """Makes the version answer. Raises Fault MODEL_UNAVAILABLE when the server cannot be reached or refuses."""

    async def unload(self, version_ids: Sequence[str]) -> None:
        """Makes versions answer no more and removes their files; nothing happens for those that are not there.
        Raises Fault MODEL_UNAVAILABLE when the server cannot be reached."""

    async def infer(
        self, version: str, inputs: Sequence[Array], outputs: Sequence[str], seconds: float
    ) -> Mapping[str, Array]:
        """The named outputs. Raises NotLoaded, Fault MODEL_UNAVAILABLE, TENSOR_MISMATCH or DEADLINE_EXCEEDED."""

    def present(self) -> Sequence[str]:
        """The ids of the versions whose files lie in the model repository."""


class NotLoaded(Exception):
    """The inference server does not hold this version at the moment."""
