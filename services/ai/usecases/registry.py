"""Look at models, and decide which version a name means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.changes import Changes
from services.ai.model import CHAMPION, Model, VersionName
from services.ai.ports import ModelPage, Storage, Stores

R = TypeVar("R")


class ListModels:
    """Lists a person's models."""

    def __init__(self, storage: Storage) -> None:
        """Holds what it needs."""
        self._storage = storage

    async def __call__(self, *, user: str, size: int, token: str) -> ModelPage:
        """One page. Raises Fault PAGE_TOKEN_INVALID."""
        return await self._storage.read(lambda stores: stores.models.page(user, size, token))


class GetModel:
    """Shows a model."""

    def __init__(self, storage: Storage) -> None:
        """Holds what it needs."""
        self._storage = storage

    async def __call__(self, *, user: str, model: str) -> Model:
        """The model. Raises Fault RESOURCE_NOT_FOUND."""
        return await self._storage.read(lambda stores: stores.models.get(model, user))


class SetAlias:
    """Points an alias at a version, or removes it."""

    def __init__(self, storage: Storage, changes: Changes) -> None:
        """`changes` is told when a champion changes."""
        self._storage = storage
        self._changes = changes

    async def __call__(
        self,
        *,
        tenant: str,
        user: str,
        model: str,
        alias: str,
        version: str,
        actor: str,
        comment: str,
        etag: str,
        answer: Callable[[Model], R],
    ) -> R:
        """Returns `answer` of the model after the change.

        Raises Fault RESOURCE_NOT_FOUND, REQUEST_INVALID (a version of another model), MODEL_QUARANTINED, ETAG_MISMATCH.
        """

        def point(stores: Stores) -> R:
            stores.models.get(model, user)
            number = None
            if version:
                name = VersionName.parse(version, field="version")
                if name.user not in (user, "me") or name.model != model:
                    raise Fault(
                        reason_pb2.REASON_REQUEST_INVALID,
                        "The version is one of another model.",
                        field="version",
                    )
                number = stores.models.version(model, user, name.number).require_usable().name.number
            stores.models.point(model, alias, number, actor=actor, comment=comment, etag=etag)
            if alias == CHAMPION:
                stores.after_commit(lambda: self._changes.tell(tenant, user))
            return answer(stores.models.get(model, user))

        return await self._storage.write(point)
