"""The tables of the ai domain. What could identify a person or their music is sealed under their data key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.runtime.persistence import Instant, Revisioned, Sealed, TenantScoped, domain_metadata


class Entity(DeclarativeBase):
    """One metadata for the domain."""

    metadata = domain_metadata()


class TrainingRow(Revisioned, TenantScoped, Entity):
    """A training; `version_number` is set once it succeeded."""

    __tablename__ = "trainings"
    __table_args__ = (Index("ix_trainings_state", "state", "create_time"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), index=True)
    half_life_days: Mapped[int]
    consent_record: Mapped[str] = mapped_column(String(64))
    state: Mapped[int]
    stage: Mapped[str] = mapped_column(String(32))
    progress: Mapped[float]
    plays_read: Mapped[int]
    model: Mapped[str | None] = mapped_column(String(64))
    version_number: Mapped[int | None]
    failure_reason: Mapped[str] = mapped_column(String(64))
    failure_message: Mapped[str] = mapped_column(String(512))
    worker: Mapped[str] = mapped_column(String(96))
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int]
    create_time: Mapped[datetime] = mapped_column(Instant)
    update_time: Mapped[datetime] = mapped_column(Instant)


class ModelRow(Revisioned, TenantScoped, Entity):
    """A person's model. Registering a version or moving an alias counts its revision up."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("tenant", "user"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64))
    create_time: Mapped[datetime] = mapped_column(Instant)
    update_time: Mapped[datetime] = mapped_column(Instant)
    version_count: Mapped[int]


class VersionRow(TenantScoped, Entity):
    """A version; its id is that of the training that made it. `signature` and `quality` are JSON."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.id"))
    user: Mapped[str] = mapped_column(String(64), index=True)
    number: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    quality: Mapped[bytes] = mapped_column(LargeBinary)
    half_life_days: Mapped[int]
    plays: Mapped[int]
    tracks: Mapped[int]
    first_play: Mapped[datetime] = mapped_column(Instant)
    last_play: Mapped[datetime] = mapped_column(Instant)
    consent_record: Mapped[str] = mapped_column(String(64))
    create_time: Mapped[datetime] = mapped_column(Instant)
    quarantine_time: Mapped[datetime | None] = mapped_column(Instant)


class ArtefactRow(TenantScoped, Entity):
    """What a version consists of, sealed; a row of its own, so that it is read only when needed and can be destroyed.

    The journal holds the tracks (URI, title, artist, album) and the times of the plays; the ONNX file was learnt
    from them.
    """

    __tablename__ = "artefacts"

    version: Mapped[str] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    onnx: Mapped[bytes] = mapped_column(Sealed(field="polyphony.ai.v1.Item.uri"))
    journal: Mapped[bytes] = mapped_column(
        Sealed(
            "polyphony.ai.v1.Item.title",
            "polyphony.ai.v1.Item.artist",
            "polyphony.ai.v1.Item.album",
            "polyphony.ai.v1.Item.uri",
        )
    )


class AliasRow(TenantScoped, Entity):
    """Where an alias points now."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int]


class AliasChangeRow(TenantScoped, Entity):
    """Where an alias pointed from when on, who moved it and why. Never changed."""

    __tablename__ = "alias_changes"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    alias: Mapped[str] = mapped_column(String(64))
    number: Mapped[int | None]
    change_time: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[bytes] = mapped_column(Sealed(field="polyphony.ai.v1.AliasChange.actor"))
    comment: Mapped[bytes] = mapped_column(
        Sealed("polyphony.ai.v1.AliasChange.comment", "polyphony.ai.v1.SetAliasRequest.comment")
    )
