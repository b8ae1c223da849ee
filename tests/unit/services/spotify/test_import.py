"""The states, counts and checkpoint of an import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.spotify.model import (
    BEGINNING,
    MAX_REPORTED,
    NO_PREFIX,
    STALLED_AFTER,
    Content,
    ContentKind,
    Counts,
    Import,
    ImportState,
    Play,
    Portion,
    Position,
    Prefix,
    Rejection,
    RejectionReason,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
PREFIX = Prefix(100, b"\1" * 32)
PLAY = Play(Content(ContentKind.TRACK, "spotify:track:1", "", "", ""), 1_600_000_000, 1_000, 0, 0, 0)


def begun() -> Import:
    return Import("i", "alice", 1, "f.json", b"\0" * 32, 1_000, NOW, NOW)


def rejected(reason: RejectionReason = RejectionReason.NOT_JSON) -> Rejection:
    return Rejection("", 1, reason)


def test_portions_are_counted_and_move_the_checkpoint() -> None:
    running = begun()
    running.advance(Portion(Position(0, 5), [PLAY] * 4, [rejected()], ["a.txt"]), 3, PREFIX, LATER)
    running.advance(Portion(Position(1, 0), [], [rejected(RejectionReason.TRUNCATED)], []), 0, PREFIX, LATER)
    assert running.counts == Counts(read=6, imported=3, duplicate=1, rejected=2)
    assert (running.position, running.prefix, running.update_time) == (Position(1, 0), PREFIX, LATER)
    assert running.truncated
    assert running.ignored == ["a.txt"]


def test_reports_are_bounded_and_counts_are_not() -> None:
    running = begun()
    for _ in range(3):
        running.advance(Portion(BEGINNING, [], [rejected()] * 600, ["x"] * 600), 0, PREFIX, LATER)
    assert len(running.rejections) == len(running.ignored) == MAX_REPORTED
    assert running.counts.rejected == 1_800


@pytest.mark.parametrize("state", [ImportState.RUNNING, ImportState.INTERRUPTED])
def test_an_interrupted_import_goes_on_from_its_checkpoint(state: ImportState) -> None:
    taken = begun()
    taken.advance(Portion(Position(0, 5), [PLAY], [], []), 1, PREFIX, NOW)
    taken.end(state, NOW)
    taken.take_up(LATER)
    assert (taken.state, taken.attempt, taken.position, taken.prefix) == (
        ImportState.RUNNING,
        2,
        Position(0, 5),
        PREFIX,
    )
    assert taken.counts.read == 1


def test_a_failed_import_begins_again() -> None:
    failed = begun()
    failed.advance(
        Portion(Position(0, 5), [PLAY], [rejected(RejectionReason.TRUNCATED)], ["a"]), 1, PREFIX, NOW
    )
    failed.end(ImportState.FAILED, NOW, "CONTENT_MISMATCH")
    assert failed.failure == "CONTENT_MISMATCH"
    failed.take_up(LATER)
    assert (failed.position, failed.prefix, failed.counts) == (BEGINNING, NO_PREFIX, Counts())
    assert (failed.rejections, failed.ignored, failed.truncated, failed.failure) == ([], [], False, "")


def test_a_running_import_that_stalls_is_interrupted() -> None:
    running = begun()
    assert running.state_at(NOW + STALLED_AFTER) is ImportState.RUNNING
    assert running.state_at(NOW + STALLED_AFTER + timedelta(seconds=1)) is ImportState.INTERRUPTED
    running.end(ImportState.SUCCEEDED, NOW)
    assert running.state_at(NOW + timedelta(days=9)) is ImportState.SUCCEEDED
