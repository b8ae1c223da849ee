"""Models, versions, aliases and artefacts in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import delete, select, update

from interceptors.faults import Fault
from interceptors.ids import new_id
from polyphony.errors.v1 import reason_pb2
from services.ai.adapters.tables import (
    AliasChangeRow,
    AliasRow,
    ArtefactRow,
    ModelRow,
    TrainingRow,
    VersionRow,
)
from services.ai.model import (
    AliasChange,
    Artefact,
    Model,
    TrainingData,
    Version,
    VersionName,
)
from services.ai.ports import ModelPage
from services.ai.training import Quality, Tensor
from services.runtime.persistence import Transaction

MOST_VERSIONS = 100
MOST_ALIASES = 32
MOST_CHANGES = 1_000
"""How much of a model one answer tells, newest first; the bounds of the contract."""


class _Signature(msgspec.Struct):
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class SqlModels:
    """Models of the transaction's tenant."""

    def __init__(self, tx: Transaction) -> None:
        """Works in `tx`."""
        self._tx = tx

    def of(self, user: str) -> Model | None:
        """The person's model, with versions and aliases."""
        row = self._tx.session.scalar(select(ModelRow).where(ModelRow.user == user))
        return None if row is None else self._model(row)

    def page(self, user: str, size: int, token: str) -> ModelPage:
        """One page of a person's models, the oldest first. Raises Fault PAGE_TOKEN_INVALID."""
        found = self._tx.page(
            select(ModelRow).where(ModelRow.user == user),
            by=[ModelRow.id],
            size=size,
            token=token,
            bound=(user,),
        )
        return ModelPage(tuple(self._model(row) for row in found.items), found.next_page_token)

    def get(self, model: str, user: str) -> Model:
        """The model with this id. Raises Fault RESOURCE_NOT_FOUND where this person has none."""
        return self._model(self._row(model, user))

    def register(self, version: Callable[[str, int], Version], artefact: Artefact, user: str) -> Version:
        """Stores a new version, made from its model's id and its number; the first one makes the model."""
        now = self._tx.now
        model = self._tx.session.scalar(select(ModelRow).where(ModelRow.user == user))
        if model is None:
            model = ModelRow(id=new_id(), user=user, create_time=now, update_time=now, version_count=0)
            self._tx.session.add(model)
        model.version_count += 1
        model.update_time = now
        made = version(model.id, model.version_count)
        self._tx.session.flush()
        self._tx.session.add(
            VersionRow(
                id=made.id,
                model=model.id,
                user=user,
                number=made.name.number,
                digest=made.digest,
                signature=msgspec.json.encode(_Signature(made.inputs, made.outputs)),
                quality=msgspec.json.encode(made.quality),
                half_life_days=made.half_life_days,
                plays=made.data.plays,
                tracks=made.data.tracks,
                first_play=made.data.first,
                last_play=made.data.last,
                consent_record=made.data.consent_record,
                create_time=made.created,
            )
        )
        self._tx.session.flush()
        key = self._tx.keys.of(user)
        self._tx.session.add(
            ArtefactRow(
                version=made.id,
                onnx=key.seal(ArtefactRow.onnx, made.id, artefact.onnx),
                journal=key.seal(ArtefactRow.journal, made.id, artefact.journal),
            )
        )
        return made

    def meant(self, user: str, alias: str, model: str = "") -> Version | None:
        """The version that an alias of the person's model (the one named, if any) means; quick, and without the
        rest of the model."""
        statement = (
            select(VersionRow)
            .join(AliasRow, (AliasRow.model == VersionRow.model) & (AliasRow.number == VersionRow.number))
            .where(VersionRow.user == user, AliasRow.alias == alias)
        )
        if model:
            statement = statement.where(VersionRow.model == model)
        row = self._tx.session.scalar(statement)
        return None if row is None else _version(row)

    def version(self, model: str, user: str, number: int) -> Version:
        """A version. Raises Fault RESOURCE_NOT_FOUND where this person has none of that number."""
        row = self._tx.session.scalar(
            select(VersionRow).where(
                VersionRow.model == model, VersionRow.user == user, VersionRow.number == number
            )
        )
        if row is None:
            name = VersionName(user, model, number)
            raise Fault(reason_pb2.REASON_RESOURCE_NOT_FOUND, metadata={"resource": str(name)})
        return _version(row)

    def point(
        self, model: str, alias: str, number: int | None, *, actor: str, comment: str, etag: str = ""
    ) -> None:
        """Points an alias at a version, or removes it, and writes that down. What is so already is not written
        again. Raises Fault ETAG_MISMATCH."""
        row = self._tx.require(ModelRow, model)
        row.check_etag(etag)
        place = self._tx.find(AliasRow, (model, alias))
        if (place.number if place else None) == number:
            return
        if number is None:
            self._tx.session.delete(place)
        elif place is not None:
            place.number = number
        else:
            self._tx.session.add(AliasRow(model=model, alias=alias, number=number, tenant=row.tenant))
        self._write_down(row, alias, number, actor, comment)

    def artefact(self, version: Version) -> Artefact:
        """What a version consists of. Raises Fault MODEL_QUARANTINED when it was destroyed."""
        row = self._tx.find(ArtefactRow, version.id)
        if row is None:
            raise Fault(reason_pb2.REASON_MODEL_QUARANTINED, metadata={"resource": str(version.name)})
        key = self._tx.keys.of(version.name.user)
        return Artefact(
            key.open(ArtefactRow.onnx, version.id, row.onnx),
            key.open(ArtefactRow.journal, version.id, row.journal),
        )

    def usable(self, versions: Sequence[str]) -> frozenset[str]:
        """Those of the ids that belong to versions which may be used; in a transaction EVERYWHERE."""
        rows = self._tx.session.scalars(
            select(VersionRow.id).where(VersionRow.id.in_(versions), VersionRow.quarantine_time.is_(None))
        )
        return frozenset(rows)

    def quarantine(self, user: str, before: datetime, now: datetime) -> Sequence[Version]:
        """Puts aside every version whose training was asked for until `before`: takes their aliases away and destroys
        their artefacts. Returns every quarantined version of the person, so that doing it again finishes what was
        interrupted."""
        model = self._tx.session.scalar(select(ModelRow).where(ModelRow.user == user))
        if model is None:
            return []
        # A training that was running then may have ended since, with what it had read before.
        asked = select(TrainingRow.id).where(TrainingRow.user == user, TrainingRow.create_time <= before)
        fresh = list(
            self._tx.session.scalars(
                select(VersionRow).where(
                    VersionRow.model == model.id,
                    VersionRow.id.in_(asked),
                    VersionRow.quarantine_time.is_(None),
                )
            )
        )
        if fresh:
            ids = [row.id for row in fresh]
            self._tx.session.execute(delete(ArtefactRow).where(ArtefactRow.version.in_(ids)))
            self._tx.session.execute(
                update(VersionRow).where(VersionRow.id.in_(ids)).values(quarantine_time=now)
            )
            numbers = [row.number for row in fresh]
            aliases = select(AliasRow).where(AliasRow.model == model.id, AliasRow.number.in_(numbers))
            for alias in list(self._tx.session.scalars(aliases)):
                self._tx.session.delete(alias)
                self._write_down(
                    model,
                    alias.alias,
                    None,
                    "service:ai",
                    "The consent or the data behind the version is gone.",
                )
        rows = self._tx.session.scalars(
            select(VersionRow)
            .where(VersionRow.model == model.id, VersionRow.quarantine_time.is_not(None))
            .execution_options(populate_existing=True)
        )
        return [_version(row) for row in rows]

    def _row(self, model: str, user: str) -> ModelRow:
        row = self._tx.session.scalar(select(ModelRow).where(ModelRow.id == model, ModelRow.user == user))
        if row is None:
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_FOUND, metadata={"resource": f"users/{user}/models/{model}"}
            )
        return row

    def _write_down(self, model: ModelRow, alias: str, number: int | None, actor: str, comment: str) -> None:
        change = new_id()
        key = self._tx.keys.of(model.user)
        model.update_time = self._tx.now
        self._tx.session.add(
            AliasChangeRow(
                id=change,
                model=model.id,
                alias=alias,
                number=number,
                change_time=self._tx.now,
                actor=key.seal(AliasChangeRow.actor, change, actor),
                comment=key.seal(AliasChangeRow.comment, change, comment),
            )
        )

    def _model(self, row: ModelRow) -> Model:
        self._tx.session.flush()
        scan = self._tx.session.scalars
        versions = scan(
            select(VersionRow)
            .where(VersionRow.model == row.id)
            .order_by(VersionRow.number.desc())
            .limit(MOST_VERSIONS)
        )
        aliases = scan(
            select(AliasRow).where(AliasRow.model == row.id).order_by(AliasRow.alias).limit(MOST_ALIASES)
        )
        changes = scan(
            select(AliasChangeRow)
            .where(AliasChangeRow.model == row.id)
            .order_by(AliasChangeRow.id.desc())
            .limit(MOST_CHANGES)
        )
        key = self._tx.keys.of(row.user)
        return Model(
            id=row.id,
            user=row.user,
            created=row.create_time,
            etag=row.etag,
            versions=tuple(_version(version) for version in versions),
            aliases={alias.alias: alias.number for alias in aliases},
            changes=tuple(
                AliasChange(
                    change.alias,
                    change.number,
                    change.change_time,
                    key.open_text(AliasChangeRow.actor, change.id, change.actor),
                    key.open_text(AliasChangeRow.comment, change.id, change.comment),
                )
                for change in changes
            ),
        )


def _version(row: VersionRow) -> Version:
    signature = msgspec.json.decode(row.signature, type=_Signature)
    return Version(
        id=row.id,
        tenant=row.tenant,
        name=VersionName(row.user, row.model, row.number),
        digest=row.digest,
        inputs=signature.inputs,
        outputs=signature.outputs,
        data=TrainingData(row.plays, row.tracks, row.first_play, row.last_play, row.consent_record),
        quality=msgspec.json.decode(row.quality, type=Quality),
        half_life_days=row.half_life_days,
        created=row.create_time,
        quarantined=row.quarantine_time,
    )
