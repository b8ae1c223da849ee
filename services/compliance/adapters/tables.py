"""The tables of compliance."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.runtime.persistence import BlindIndex, Instant, TenantScoped, domain_metadata


class Entity(DeclarativeBase):
    """Every table of this domain."""

    metadata = domain_metadata()


class ConsentDecision(TenantScoped, Entity):
    """One decision, never changed or removed. The primary key lets no two decisions be the same revision."""

    __tablename__ = "consent_decisions"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(64), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    version: Mapped[int] = mapped_column(BigInteger, unique=True)
    """The version of the whole consent state that this decision made: what the feed counts."""
    choice: Mapped[str] = mapped_column(String(16))
    notice_version: Mapped[int]
    notice_language: Mapped[str] = mapped_column(String(16))
    notice_digest: Mapped[str] = mapped_column(String(64))
    time: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(String(128))


class ConsentHead(Entity):
    """One row: the newest version of the consent state of all tenants. Locked until whoever raised it commits, so that
    versions appear in the order of their commits."""

    __tablename__ = "consent_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)


class LedgerLog(TenantScoped, Entity):
    """One tenant's log. The row is the sequencer: whoever appends holds it until the commit."""

    __tablename__ = "ledger_logs"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)


class LedgerRecord(TenantScoped, Entity):
    """One leaf, at its place in its tenant's log."""

    __tablename__ = "ledger_records"
    __table_args__ = (
        Index("uq_ledger_records_id", "tenant", "id", unique=True),
        Index("ix_ledger_records_subject", "tenant", "subject_index", "sequence"),
    )

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(64))
    subject_index: Mapped[bytes | None] = mapped_column(
        BlindIndex(field="polyphony.compliance.v1.AuditRecord.subject")
    )
    actor_index: Mapped[bytes | None] = mapped_column(
        BlindIndex(field="polyphony.compliance.v1.AuditRecord.actor")
    )
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    """An encoded ``LedgerLeaf``: every personal field of the record is sealed inside it."""


class LedgerTile(TenantScoped, Entity):
    """One tile of a log's Merkle tree (see :mod:`services.compliance.tiles`)."""

    __tablename__ = "ledger_tiles"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)
