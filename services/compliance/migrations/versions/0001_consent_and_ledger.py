"""Consent decisions and the audit ledger"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "consent_decisions",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("choice", sa.String(length=16), nullable=False),
        sa.Column("notice_version", sa.Integer(), nullable=False),
        sa.Column("notice_language", sa.String(length=16), nullable=False),
        sa.Column("notice_digest", sa.String(length=64), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user", "purpose", "revision", name=op.f("pk_consent_decisions")),
        sa.UniqueConstraint("id", name=op.f("uq_consent_decisions_id")),
        sa.UniqueConstraint("version", name=op.f("uq_consent_decisions_version")),
    )
    head = op.create_table(
        "consent_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_head")),
    )
    # Versions count from 1, because a follower that knows nothing says 0.
    op.bulk_insert(head, [{"id": 1, "version": 1}])
    op.create_table(
        "ledger_logs",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_ledger_logs")),
    )
    op.create_table(
        "ledger_records",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("subject_index", sa.LargeBinary(), nullable=True),
        sa.Column("actor_index", sa.LargeBinary(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sequence", name=op.f("pk_ledger_records")),
    )
    op.create_index("uq_ledger_records_id", "ledger_records", ["tenant", "id"], unique=True)
    op.create_index(
        "ix_ledger_records_subject", "ledger_records", ["tenant", "subject_index", "sequence"], unique=False
    )
    op.create_table(
        "ledger_tiles",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "level", "position", name=op.f("pk_ledger_tiles")),
    )
