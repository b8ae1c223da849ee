"""The tables of the spotify domain.

A person's plays hang on a history. Deleting hides the history; importing after that begins another one, so that the
deleted one can still be brought back, or purged, on its own. Plays name what was played by number: a keyed digest of
the URI under the person's own key, so that nothing has to be looked up to store a play and the numbers say nothing by
themselves. Names lie once per content, sealed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.runtime.persistence import (
    BlindIndex,
    Instant,
    Revisioned,
    Sealed,
    SoftDeleted,
    TenantScoped,
    domain_metadata,
)


class Entity(DeclarativeBase):
    """The root of the domain's tables."""

    metadata = domain_metadata()


class HistoryRow(Revisioned, SoftDeleted, TenantScoped, Entity):
    """Everything one person imported until they deleted it. At most one of a person's histories is not deleted."""

    __tablename__ = "histories"
    __table_args__ = (
        Index(
            "uq_histories_active_user",
            "tenant",
            "user",
            unique=True,
            sqlite_where=text("delete_time IS NULL"),
            postgresql_where=text("delete_time IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user: Mapped[str] = mapped_column(String(64))
    play_count: Mapped[int] = mapped_column(BigInteger)
    update_time: Mapped[datetime] = mapped_column(Instant)


class ImportRow(TenantScoped, Entity):
    """One file of one history; see `model.Import`. `report` seals its rejections and ignored entries (MessagePack)."""

    __tablename__ = "imports"
    __table_args__ = (Index("uq_imports_history_sha256", "history", "sha256", unique=True),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    history: Mapped[int] = mapped_column(Integer)
    user: Mapped[str] = mapped_column(String(64))
    file_name: Mapped[bytes] = mapped_column(
        Sealed("polyphony.spotify.v1.Import.file_name", "polyphony.spotify.v1.ImportHeader.file_name")
    )
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[int] = mapped_column(SmallInteger)
    attempt: Mapped[int] = mapped_column(Integer)
    entry: Mapped[int] = mapped_column(Integer)
    element: Mapped[int] = mapped_column(BigInteger)
    prefix_bytes: Mapped[int] = mapped_column(BigInteger)
    prefix_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    plays_read: Mapped[int] = mapped_column(BigInteger)
    plays_imported: Mapped[int] = mapped_column(BigInteger)
    plays_duplicate: Mapped[int] = mapped_column(BigInteger)
    plays_rejected: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[bytes | None] = mapped_column(
        Sealed("polyphony.spotify.v1.Rejection.entry", "polyphony.spotify.v1.Import.ignored_entries")
    )
    truncated: Mapped[int] = mapped_column(SmallInteger)
    failure: Mapped[str] = mapped_column(String(64))
    create_time: Mapped[datetime] = mapped_column(Instant)
    update_time: Mapped[datetime] = mapped_column(Instant)


class ContentRow(TenantScoped, Entity):
    """One thing that a history's plays are of. `names` seals title, artist, album and URI (MessagePack).

    `number` is made of `uri_index`, the digest of the URI. `artist` and `album` are digests of the names; null where
    the export has none, or where it is no track.
    """

    __tablename__ = "contents"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    history: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger)
    artist: Mapped[int | None] = mapped_column(BigInteger)
    album: Mapped[int | None] = mapped_column(BigInteger)
    uri_index: Mapped[bytes] = mapped_column(BlindIndex("polyphony.spotify.v1.Play.uri"))
    names: Mapped[bytes] = mapped_column(
        Sealed(
            "polyphony.spotify.v1.Play.title",
            "polyphony.spotify.v1.Play.artist",
            "polyphony.spotify.v1.Play.album",
            "polyphony.spotify.v1.Play.uri",
            "polyphony.spotify.v1.ProfileItem.title",
            "polyphony.spotify.v1.ProfileItem.artist",
        )
    )
    # Every statement names the history, whose rows are of one tenant: an index on the tenant would serve none.
    tenant: Mapped[str] = mapped_column(String(64))


class PlayRow(TenantScoped, Entity):
    """One play. Its key is what makes two plays the same, and the order in which they are listed: one clustered tree
    serves deduplication, paging and periods. `ended_at` is in seconds since the epoch."""

    __tablename__ = "plays"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    history: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    ended_at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    content: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    ms_played: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    end_reason: Mapped[int] = mapped_column(SmallInteger)
    flags: Mapped[int] = mapped_column(SmallInteger)
    platform: Mapped[int] = mapped_column(SmallInteger)
    tenant: Mapped[str] = mapped_column(String(64))
