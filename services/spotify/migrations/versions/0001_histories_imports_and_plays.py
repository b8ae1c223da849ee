"""histories imports and plays"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "contents",
        sa.Column("history", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("artist", sa.BigInteger(), nullable=True),
        sa.Column("album", sa.BigInteger(), nullable=True),
        sa.Column("uri_index", sa.LargeBinary(), nullable=False),
        sa.Column("names", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("history", "number", name=op.f("pk_contents")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "histories",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("play_count", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("delete_time", sa.BigInteger(), nullable=True),
        sa.Column("purge_time", sa.BigInteger(), nullable=True),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_histories")),
    )
    op.create_index(op.f("ix_histories_purge_time"), "histories", ["purge_time"], unique=False)
    op.create_index(op.f("ix_histories_tenant"), "histories", ["tenant"], unique=False)
    op.create_index(
        "uq_histories_active_user",
        "histories",
        ["tenant", "user"],
        unique=True,
        sqlite_where=sa.text("delete_time IS NULL"),
        postgresql_where=sa.text("delete_time IS NULL"),
    )
    op.create_table(
        "imports",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("history", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("element", sa.BigInteger(), nullable=False),
        sa.Column("prefix_bytes", sa.BigInteger(), nullable=False),
        sa.Column("prefix_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("plays_read", sa.BigInteger(), nullable=False),
        sa.Column("plays_imported", sa.BigInteger(), nullable=False),
        sa.Column("plays_duplicate", sa.BigInteger(), nullable=False),
        sa.Column("plays_rejected", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.Column("truncated", sa.SmallInteger(), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index(op.f("ix_imports_tenant"), "imports", ["tenant"], unique=False)
    op.create_index("uq_imports_history_sha256", "imports", ["history", "sha256"], unique=True)
    op.create_table(
        "plays",
        sa.Column("history", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ended_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ms_played", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("end_reason", sa.SmallInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("platform", sa.SmallInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("history", "ended_at", "content", "ms_played", name=op.f("pk_plays")),
        sqlite_with_rowid=False,
    )
