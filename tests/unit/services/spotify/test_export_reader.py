"""The reader of Spotify's export: what real and broken files become."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.spotify.adapters.export import splitter
from services.spotify.adapters.export.archive import Limits
from services.spotify.adapters.export.reader import ExportReader
from services.spotify.model import (
    BEGINNING,
    ContentKind,
    ExportRefused,
    Play,
    PlayFlag,
    Portion,
    Position,
    Refusal,
    Rejection,
    RejectionReason,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


def exported(**changes: Any) -> dict[str, Any]:
    """An element as Spotify writes it."""
    return {
        "ts": "2023-03-19T18:31:37Z",
        "platform": "android",
        "ms_played": 174424,
        "conn_country": "FR",
        "ip_addr": "198.51.100.7",
        "master_metadata_track_name": "Got To Hurry",
        "master_metadata_album_artist_name": "The Yardbirds",
        "master_metadata_album_album_name": "Classic Yardbirds Vol.1",
        "spotify_track_uri": "spotify:track:6pHLEjP6LdsoP31jZDNc6e",
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
        "offline_timestamp": None,
        "incognito_mode": False,
        **changes,
    }


def document(*elements: dict[str, Any], indent: int | None = 2) -> bytes:
    return json.dumps(list(elements), indent=indent, ensure_ascii=False).encode()


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return target.getvalue()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


class Outcome:
    """Everything that a reading gave."""

    def __init__(self, portions: Iterable[Portion]) -> None:
        self.plays: list[Play] = []
        self.rejections: list[Rejection] = []
        self.ignored: list[str] = []
        self.positions: list[Position] = []
        self.refusal: ExportRefused | None = None
        try:
            for portion in portions:
                self.plays += portion.plays
                self.rejections += portion.rejections
                self.ignored += portion.ignored
                self.positions.append(portion.position)
        except ExportRefused as refused:
            self.refusal = refused


def read(
    data: bytes, *, size: int = 65_536, limits: Limits | None = None, start: Position = BEGINNING
) -> Outcome:
    return Outcome(ExportReader(limits).read(pieces(data, size), now=NOW, start=start))


def shared(name: str) -> bytes:
    path = Path(os.environ.get("POLYPHONY_SHARED", "../shared")) / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is absent: point POLYPHONY_SHARED at its folder")
    return path.read_bytes()


def test_real_file_of_the_old_form() -> None:
    outcome = read(shared("endsong_0.json"))
    assert outcome.rejections == []
    assert [(play.content.title, play.content.artist, play.ms_played) for play in outcome.plays] == [
        ("Got To Hurry", "The Yardbirds", 154902),
        ("To All The Girls", "Beastie Boys", 75788),
        ("Ghlana", "Noura Mint Seymali", 0),
        ("I Turn My Camera On", "Spoon", 212022),
        ("Fly Free", "Nubya Garcia", 581491),
    ]
    # Online plays end when the server says so, whatever offline_timestamp holds (milliseconds, 0).
    assert [datetime.fromtimestamp(play.ended_at, UTC).isoformat() for play in outcome.plays[:3]] == [
        "2013-03-14T10:44:25+00:00",
        "2017-12-24T19:37:40+00:00",
        "2022-03-22T16:22:18+00:00",
    ]


def test_real_file_of_the_new_form() -> None:
    outcome = read(shared("Streaming_History_Audio_2023.json"))
    assert outcome.rejections == []
    assert len(outcome.plays) == 5
    first, second = outcome.plays[:2]
    # Reported a year after it was played offline: the device's clock tells when that was.
    assert datetime.fromtimestamp(first.ended_at, UTC).isoformat() == "2023-03-19T18:15:21+00:00"
    assert first.flags == PlayFlag.SKIPPED | PlayFlag.SHUFFLE | PlayFlag.OFFLINE
    assert datetime.fromtimestamp(second.ended_at, UTC).isoformat() == "2023-03-19T18:31:37+00:00"


@pytest.mark.parametrize(
    ("stamp", "ended"),
    [
        (1_579_249_719, 1_579_249_893),
        (1_579_249_719_000, 1_579_249_893),
        (1_579_249_719_999, 1_579_249_893),
        (0, 1_679_250_697),
        (None, 1_679_250_697),
        (-5, 1_679_250_697),
        (3_000_000_000, 1_679_250_697),
        (1e300, 1_679_250_697),
    ],
)
def test_offline_timestamp_in_every_unit(stamp: float | None, ended: int) -> None:
    (play,) = read(document(exported(offline=True, offline_timestamp=stamp))).plays
    assert play.ended_at == ended


def test_podcasts_and_audiobooks_keep_their_kind() -> None:
    nothing = {
        "master_metadata_track_name": None,
        "master_metadata_album_artist_name": None,
        "master_metadata_album_album_name": None,
        "spotify_track_uri": None,
    }
    outcome = read(
        document(
            exported(
                **nothing,
                episode_name="One",
                episode_show_name="Show",
                spotify_episode_uri="spotify:episode:1",
            ),
            exported(
                **nothing,
                audiobook_title="Book",
                audiobook_uri="spotify:show:2",
                audiobook_chapter_uri="spotify:episode:3",
                audiobook_chapter_title="Chapter 1",
            ),
        )
    )
    episode, chapter = (play.content for play in outcome.plays)
    assert (episode.kind, episode.title, episode.artist) == (ContentKind.EPISODE, "One", "Show")
    assert (chapter.kind, chapter.title, chapter.album) == (ContentKind.AUDIOBOOK, "Chapter 1", "Book")


def test_null_names() -> None:
    unknown = {"master_metadata_track_name": None, "master_metadata_album_artist_name": None}
    outcome = read(document(exported(**unknown), exported(**unknown, spotify_track_uri=None), indent=None))
    (play,) = outcome.plays
    assert (play.content.title, play.content.uri) == ("", "spotify:track:6pHLEjP6LdsoP31jZDNc6e")
    assert outcome.rejections == [Rejection("", 1, RejectionReason.CONTENT_MISSING)]


def test_bad_elements_are_reported_by_line_and_the_others_kept() -> None:
    lines = [
        "[",
        json.dumps(exported()) + ",",
        json.dumps(exported(ts="yesterday")) + ",",
        json.dumps(exported(ts=None)) + ",",
        json.dumps(exported(ms_played="long")) + ",",
        json.dumps(exported(ms_played=-1)) + ",",
        json.dumps(exported(ts="1970-01-01T00:00:00Z")) + ",",
        json.dumps(exported(shuffle="no")) + ",",
        "42,",
        '{"ts": oops},',
        '{"ms_played": 5},',
        '{"ts": "2023-03-19T18:31:37Z", "platform": "no closing quote,',
        json.dumps(exported(master_metadata_track_name="a {brace} and a \\ and }]")) + ",",
        json.dumps(exported(master_metadata_track_name="x" * 2_000)) + ",",
        '{"ts": "2023-03-19T18:31:37Z", "deep": ' + "[" * 5_000 + "]" * 5_000 + "},",
        json.dumps(exported(spotify_track_uri="spotify:track:last")),
        "]",
    ]
    outcome = read("\n".join(lines).encode())
    assert [(r.line, r.reason.name, r.field) for r in outcome.rejections] == [
        (3, "TIME_INVALID", "ts"),
        (4, "TIME_INVALID", "ts"),
        (5, "LENGTH_INVALID", "ms_played"),
        (6, "LENGTH_INVALID", "ms_played"),
        (7, "TIME_INVALID", "ts"),
        (8, "TYPE_INVALID", "shuffle"),
        (9, "NOT_JSON", ""),
        (10, "NOT_JSON", ""),
        (11, "TIME_INVALID", "ts"),
        (12, "NOT_JSON", ""),
        (14, "TYPE_INVALID", "master_metadata_track_name"),
        (15, "NOT_JSON", ""),
    ]
    assert len(outcome.plays) == 3
    assert outcome.plays[-1].content.uri == "spotify:track:last"


def test_wrong_encodings() -> None:
    text = document(exported(master_metadata_track_name="Für Élise")).decode()
    for data in (
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
    ):
        for size in (1, 3, 65_536):
            (play,) = read(data, size=size).plays
            assert play.content.title == "Für Élise"
    mixed = document(exported(master_metadata_track_name="Für Élise"), exported(), indent=None).decode(
        "utf-8"
    )
    latin = read(mixed.encode("latin-1"))
    assert [(r.line, r.reason) for r in latin.rejections] == [(1, RejectionReason.ENCODING_INVALID)]
    assert len(latin.plays) == 1
    half_a_pair = read(text[:-1].encode("utf-16-le") + b"\x00\xdc" + "]".encode("utf-16-le"))
    assert [r.reason for r in half_a_pair.rejections] == [RejectionReason.ENCODING_INVALID]
    assert len(half_a_pair.plays) == 1


def test_a_very_long_element_is_rejected_without_being_kept() -> None:
    monster = '{"ts": "' + "x" * 3_000_000
    data = ("[" + json.dumps(exported()) + ",\n" + monster + ",\n" + json.dumps(exported()) + "]").encode()
    tracemalloc.start()
    outcome = Outcome(ExportReader().read(pieces(data, 65_536), now=NOW))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(outcome.plays) == 2
    assert [(r.line, r.reason) for r in outcome.rejections] == [(2, RejectionReason.NOT_JSON)]
    assert peak < 2_500_000


def test_what_is_no_export_is_refused() -> None:
    for data in (
        b"",
        b"  ",
        b'{"plays": []}',
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        archive({"readme.txt": b"hi"}),
        archive({}),
    ):
        outcome = read(data)
        assert outcome.refusal is not None, data
        assert outcome.refusal.refusal is Refusal.FORMAT_UNKNOWN
    assert read(b"[]").refusal is None


def test_zip_of_many_files() -> None:
    files = {
        "MyData/Streaming_History_Audio_2020-2021_1.json": document(exported(ts="2020-01-01T00:00:00Z")),
        "MyData/Streaming_History_Video_2020.json": document(exported()),
        "MyData/ReadMeFirst.pdf": b"%PDF",
        "../../Streaming_History_Audio_evil.json": document(exported()),
        "/etc/endsong_1.json": document(exported()),
        "C:\\endsong_2.json": document(exported()),
        "endsong_3.json": document(exported(ts="2021-01-01T00:00:00Z"), exported(ms_played=-3)),
        "StreamingHistory0.json": b"[]",
        "broken/endsong_4.json": b'{"no": "array"}',
        "endsong_5.json": document(exported(ts="2022-01-01T00:00:00Z")),
    }
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        outcome = read(archive(files, compression), size=97)
        assert [datetime.fromtimestamp(play.ended_at, UTC).year for play in outcome.plays] == [
            2020,
            2021,
            2022,
        ]
        assert outcome.ignored == [
            "MyData/Streaming_History_Video_2020.json",
            "MyData/ReadMeFirst.pdf",
            "../../Streaming_History_Audio_evil.json",
            "/etc/endsong_1.json",
            "C:\\endsong_2.json",
            "StreamingHistory0.json",
        ]
        assert [(r.entry, r.reason) for r in outcome.rejections] == [
            ("endsong_3.json", RejectionReason.LENGTH_INVALID),
            ("broken/endsong_4.json", RejectionReason.NOT_JSON),
        ]
        assert outcome.refusal is None


def test_zip_bomb_is_refused_early() -> None:
    bomb = archive({"endsong_0.json": document(exported()), "endsong_1.json": b"[" + b" " * 50_000_000})
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for piece in pieces(bomb, 1_000):
            taken += len(piece)
            yield piece

    tracemalloc.start()
    outcome = Outcome(ExportReader().read(counted(), now=NOW))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.refusal is not None
    assert outcome.refusal.refusal is Refusal.ARCHIVE_REFUSED
    assert (outcome.refusal.entry, outcome.refusal.limit) == ("endsong_1.json", 200)
    assert len(outcome.plays) == 1
    assert taken < len(bomb) * 0.5
    assert peak < 2_000_000


def test_archive_limits() -> None:
    many = archive({f"{number}.txt": b"" for number in range(5)} | {"endsong_0.json": b"[]"})
    assert read(many, limits=Limits(entries=5)).refusal is not None
    assert read(many, limits=Limits(entries=6)).refusal is None
    two = archive({"endsong_0.json": b"[" + b" " * 900 + b"]", "endsong_1.json": b"[" + b" " * 900 + b"]"})
    by_size = ((Limits(entry_bytes=900), "a file in the archive"), (Limits(total_bytes=1_500), "the archive"))
    for limits, message in by_size:
        refusal = read(two, limits=limits).refusal
        assert refusal is not None
        assert message in refusal.message.lower()


def test_a_claim_of_two_gigabytes_is_refused_before_anything_is_inflated() -> None:
    honest = archive({"endsong_0.json": document(exported())})
    claimed = bytearray(honest)
    struct.pack_into("<I", claimed, 22, 2 * 1024**3)  # uncompressed size in the local file header
    outcome = read(bytes(claimed))
    assert outcome.refusal is not None
    assert outcome.refusal.refusal is Refusal.ARCHIVE_REFUSED
    assert outcome.plays == []


def test_damaged_and_protected_archives() -> None:
    good = archive({"endsong_0.json": document(*[exported(ms_played=n) for n in range(300)])})
    damaged = bytearray(good)
    damaged[14] ^= 0xFF  # the checksum in the local file header
    outcome = read(bytes(damaged))
    assert outcome.refusal is not None
    assert "damaged" in outcome.refusal.message
    protected = bytearray(good)
    protected[6] |= 1
    refusal = read(bytes(protected)).refusal
    assert refusal is not None
    assert "password" in refusal.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_chunking_gives_the_same(data: st.DataObject) -> None:
    element = st.fixed_dictionaries(
        {},
        optional={
            "master_metadata_track_name": st.one_of(st.none(), st.text(max_size=30), st.just('}, {"ts": [')),
            "ms_played": st.one_of(st.integers(-1, 10**6), st.just("x")),
            "spotify_track_uri": st.one_of(st.none(), st.text("ab}{", min_size=1, max_size=3)),
            "skipped": st.sampled_from([None, True, False, 1]),
        },
    )
    elements = [exported(**changes) for changes in data.draw(st.lists(element, max_size=40))]
    content = document(*elements, indent=data.draw(st.sampled_from([None, 2])))
    if elements:
        for _ in range(data.draw(st.integers(0, 2))):  # damage a byte
            at = data.draw(st.integers(1, len(content) - 1))
            content = (
                content[:at]
                + data.draw(st.sampled_from([b"", b'"', b"}", b"\xe9", b"\n"]))
                + content[at + 1 :]
            )
    if data.draw(st.booleans()):
        content = archive({"endsong_0.json": content, "x.txt": b"1", "endsong_1.json": document(exported())})
    whole = read(content, size=max(1, len(content)))
    # Windows of 1 KiB instead of 64, so that small files have many of them.
    with mock.patch.object(splitter, "WINDOW", data.draw(st.sampled_from([1, 1_000, 65_536]))):
        cut = read(content, size=data.draw(st.integers(1, 2_000)))
    assert cut.plays == whole.plays
    assert cut.rejections == whole.rejections
    assert cut.ignored == whole.ignored
    assert (cut.refusal is None) == (whole.refusal is None)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_cut_loses_nothing_before_it(data: st.DataObject) -> None:
    elements = [
        exported(ms_played=number, master_metadata_track_name=f"No. {number}") for number in range(60)
    ]
    content = document(*elements, indent=2)
    at = data.draw(st.integers(1, len(content) - 1))
    outcome = read(content[:at], size=data.draw(st.integers(1, 70_000)))
    complete = content[:at].count(b"\n  }")
    assert [play.ms_played for play in outcome.plays] == list(range(complete))
    (cut,) = outcome.rejections
    assert cut.reason is RejectionReason.TRUNCATED
    # Where the element begins that is cut, or the end of the file where it ends between two.
    assert 1 <= cut.line <= content[:at].count(b"\n") + 1
    in_archive = archive({"endsong_0.json": content}, zipfile.ZIP_STORED)
    zipped = read(in_archive[: 44 + at], size=1_000)
    assert [play.ms_played for play in zipped.plays] == list(range(complete))
    assert [(r.reason, r.line) for r in zipped.rejections] == [(cut.reason, cut.line)]
    assert zipped.refusal is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_resuming_anywhere_gives_the_rest(data: st.DataObject) -> None:
    files = {
        f"endsong_{number}.json": document(
            *[exported(ms_played=number * 1000 + n) for n in range(25)], exported(ts="?")
        )
        for number in range(3)
    }
    content = archive({"a.txt": b"1", **files})
    whole = read(content)
    entry = data.draw(st.integers(0, 3))
    element = data.draw(st.integers(0, 26))
    rest = read(content, size=data.draw(st.integers(1, 9_000)), start=Position(entry, element))
    before = max(0, entry - 1) * 26 + (min(element, 26) if entry else 0)
    assert len(rest.plays) + len(rest.rejections) == 3 * 26 - before
    assert rest.plays == whole.plays[len(whole.plays) - len(rest.plays) :]
    assert rest.ignored == (["a.txt"] if entry == 0 else [])


def test_memory_stays_flat() -> None:
    one = json.dumps(exported()).encode()

    def endless(count: int) -> Iterator[bytes]:
        yield b"["
        for number in range(count):
            yield one + (b"," if number < count - 1 else b"]")

    def peak(count: int) -> int:
        tracemalloc.start()
        seen = sum(len(portion.plays) for portion in ExportReader().read(endless(count), now=NOW))
        assert seen == count
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(20_000) < peak(2_000) * 1.5


def test_what_must_be_dropped_never_becomes_an_object() -> None:
    secrets = {"ip_addr": "203.0.113.99", "user_agent_decrypted": "Canary/1", "username": "canary-user"}
    plays = read(document(exported(**secrets))).plays
    shown = repr(plays)
    assert "Got To Hurry" in shown
    for secret in (*secrets.values(), "FR"):
        assert secret not in shown
