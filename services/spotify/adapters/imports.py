"""Imports in the database."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from services.runtime.persistence import Transaction
from services.runtime.persistence.subject_keys import SubjectKey
from services.spotify.adapters.tables import HistoryRow, ImportRow
from services.spotify.model import Counts, Import, ImportState, Position, Prefix, Rejection


class _Report(msgspec.Struct, array_like=True):
    """What `ImportRow.report` seals."""

    rejections: list[Rejection]
    ignored: list[str]


_REPORT = msgspec.msgpack.Decoder(_Report)


class SqlImports:
    """See `ports.Imports`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, user: str, identifier: str) -> Import | None:
        """One import of a person."""
        return self._one(_visible().where(ImportRow.user == user, ImportRow.id == identifier))

    def find(self, history: int, sha256: bytes) -> Import | None:
        """The import of a file into a history."""
        return self._one(_visible().where(ImportRow.history == history, ImportRow.sha256 == sha256))

    def add(self, new: Import) -> None:
        """Store a new import."""
        sealed = self._tx.keys.of(new.user).seal(ImportRow.file_name, new.id, new.file_name)
        row = ImportRow(
            id=new.id,
            history=new.history,
            user=new.user,
            file_name=sealed,
            sha256=new.sha256,
            size_bytes=new.size_bytes,
            create_time=new.create_time,
            report=None,
        )
        self._fill(row, new)
        self._tx.session.add(row)
        self._tx.session.flush()

    def save(self, changed: Import) -> None:
        """Store what has changed."""
        self._fill(self._tx.require(ImportRow, changed.id), changed)

    def page(self, user: str, size: int, token: str) -> tuple[list[Import], str]:
        """One page of a person's imports, newest first and without their reports, and the token of the next."""
        page = self._tx.page(
            _visible().where(ImportRow.user == user),
            by=[ImportRow.create_time.desc(), ImportRow.id.desc()],
            size=size,
            token=token,
            bound=(user,),
        )
        key = self._tx.keys.of(user)
        return [_entity(row, key, with_report=False) for row in page.items], page.next_page_token

    def _one(self, statement: Any) -> Import | None:
        row: ImportRow | None = self._tx.session.scalars(statement).one_or_none()
        return None if row is None else _entity(row, self._tx.keys.of(row.user), with_report=True)

    def _fill(self, row: ImportRow, state: Import) -> None:
        row.state = int(state.state)
        row.attempt = state.attempt
        row.entry, row.element = state.position
        row.prefix_bytes, row.prefix_sha256 = state.prefix
        row.plays_read = state.counts.read
        row.plays_imported = state.counts.imported
        row.plays_duplicate = state.counts.duplicate
        row.plays_rejected = state.counts.rejected
        row.truncated = int(state.truncated)
        row.failure = state.failure
        row.update_time = state.update_time
        if state.rejections or state.ignored:
            report = msgspec.msgpack.encode(_Report(state.rejections, state.ignored))
            row.report = self._tx.keys.of(state.user).seal(ImportRow.report, state.id, report)
        else:
            row.report = None


def _visible() -> Any:
    # Joined, so that the session's criterion hides the imports of a deleted history, too.
    return select(ImportRow).join(HistoryRow, HistoryRow.id == ImportRow.history)


def _entity(row: ImportRow, key: SubjectKey, *, with_report: bool) -> Import:
    report = _Report([], [])
    if with_report and row.report is not None:
        report = _REPORT.decode(key.open(ImportRow.report, row.id, row.report))
    return Import(
        id=row.id,
        user=row.user,
        history=row.history,
        file_name=key.open_text(ImportRow.file_name, row.id, row.file_name),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        create_time=row.create_time,
        update_time=row.update_time,
        state=ImportState(row.state),
        attempt=row.attempt,
        position=Position(row.entry, row.element),
        prefix=Prefix(row.prefix_bytes, row.prefix_sha256),
        counts=Counts(row.plays_read, row.plays_imported, row.plays_duplicate, row.plays_rejected),
        rejections=report.rejections,
        ignored=report.ignored,
        truncated=bool(row.truncated),
        failure=row.failure,
    )
