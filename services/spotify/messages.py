"""Entities as messages of `polyphony.spotify.v1`, and names as their parts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from polyphony.spotify.v1 import history_pb2, import_pb2, profile_pb2
from services.spotify.model import (
    END_REASONS,
    Favourite,
    History,
    Import,
    ImportState,
    Period,
    Play,
    PlayFlag,
    Profile,
)
from services.spotify.model import Tally as Counted

_EVER = 1 << 62

_SKIPPED, _SHUFFLE, _OFFLINE = int(PlayFlag.SKIPPED), int(PlayFlag.SHUFFLE), int(PlayFlag.OFFLINE)


def part(name: str, index: int) -> str:
    """A part of a resource name, whose pattern the road has checked."""
    return name.split("/")[index]


def period(request: Any) -> Period:
    """The period that a request's `start_time` and `end_time` name."""
    return Period(
        _second(request.start_time) if request.HasField("start_time") else None,
        _second(request.end_time) if request.HasField("end_time") else None,
    )


def _second(time: Timestamp) -> int:
    """Plays end on whole seconds: one that ended "before 12:00:00.5" ended before 12:00:01. Times that no calendar has
    are moved to where the database can still compare them."""
    return min(max(time.seconds, -_EVER), _EVER) + (time.nanos > 0)


def import_message(done: Import, now: datetime) -> import_pb2.Import:
    """An import as it stands at `now`."""
    state = done.state_at(now)
    return import_pb2.Import(
        name=f"users/{done.user}/imports/{done.id}",
        file_name=done.file_name,
        sha256=done.sha256,
        size_bytes=done.size_bytes,
        processed_bytes=done.size_bytes if state is ImportState.SUCCEEDED else done.prefix.size,
        state=import_pb2.ImportState.ValueType(int(state)),
        plays_read=done.counts.read,
        plays_imported=done.counts.imported,
        plays_duplicate=done.counts.duplicate,
        plays_rejected=done.counts.rejected,
        rejections=[
            import_pb2.Rejection(
                entry=rejection.entry,
                line=rejection.line,
                reason=import_pb2.RejectionReason.ValueType(int(rejection.reason)),
                field=rejection.field,
            )
            for rejection in done.rejections
        ],
        ignored_entries=done.ignored,
        truncated=done.truncated,
        create_time=moment(done.create_time),
        update_time=moment(done.update_time),
        failure_reason=done.failure,
    )


def play_message(play: Play) -> history_pb2.Play:
    """A play."""
    content, flags = play.content, play.flags
    return history_pb2.Play(
        end_time=Timestamp(seconds=play.ended_at),
        played=duration(play.ms_played),
        kind=history_pb2.ContentKind.ValueType(int(content.kind)),
        title=content.title,
        artist=content.artist,
        album=content.album,
        uri=content.uri,
        skipped=bool(flags & _SKIPPED),
        shuffle=bool(flags & _SHUFFLE),
        offline=bool(flags & _OFFLINE),
        reason_end=END_REASONS[play.end_reason],
    )


def history_message(history: History) -> history_pb2.History:
    """A history."""
    return history_pb2.History(
        name=f"users/{history.user}/history",
        play_count=history.play_count,
        update_time=moment(history.update_time),
        delete_time=moment(history.delete_time) if history.delete_time else None,
        purge_time=moment(history.purge_time) if history.purge_time else None,
        etag=history.etag,
    )


def profile_message(profile: Profile) -> profile_pb2.ListeningProfile:
    """A profile."""
    totals = profile.totals
    return profile_pb2.ListeningProfile(
        plays=totals.tally.plays,
        listened=duration(totals.tally.ms_played),
        distinct_items=totals.distinct,
        skip_rate=profile.skip_rate,
        first_play_time=Timestamp(seconds=totals.first) if totals.first is not None else None,
        last_play_time=Timestamp(seconds=totals.last) if totals.last is not None else None,
        top_artists=[_item(favourite) for favourite in profile.artists],
        top_tracks=[_item(favourite) for favourite in profile.tracks],
        top_albums=[_item(favourite) for favourite in profile.albums],
        months=[_month(month, tally) for month, tally in profile.months],
        hours_of_day=[duration(tally.ms_played) for tally in profile.hours],
    )


def _item(favourite: Favourite) -> profile_pb2.ProfileItem:
    return profile_pb2.ProfileItem(
        title=favourite.title,
        artist=favourite.artist,
        plays=favourite.tally.plays,
        listened=duration(favourite.tally.ms_played),
    )


def _month(month: str, tally: Counted) -> profile_pb2.ProfileMonth:
    return profile_pb2.ProfileMonth(month=month, plays=tally.plays, listened=duration(tally.ms_played))


def duration(milliseconds: int) -> Duration:
    """Milliseconds as a Duration."""
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def moment(time: datetime) -> Timestamp:
    """A time as a Timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC).replace(tzinfo=None))
    return stamp
