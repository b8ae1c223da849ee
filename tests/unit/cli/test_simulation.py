"""The simulated history: exact in size, the same for one seed, labelled, with the habits it promises."""

import hashlib
import json
import re
import zipfile
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from cli.simulation import MARKER, SimulatedPlay, simulate, write_archive

FIELDS = """
ts platform ms_played conn_country ip_addr master_metadata_track_name master_metadata_album_artist_name
master_metadata_album_album_name spotify_track_uri episode_name episode_show_name spotify_episode_uri
audiobook_title audiobook_uri audiobook_chapter_uri audiobook_chapter_title reason_start reason_end shuffle
skipped offline offline_timestamp incognito_mode
"""


@pytest.fixture(scope="module")
def history() -> list[SimulatedPlay]:
    return list(simulate(seed=11, plays=30_000, years=3))


def test_it_has_exactly_the_plays_asked_for_in_time_order(history: list[SimulatedPlay]) -> None:
    assert len(history) == 30_000
    assert all(a.ended <= b.ended for a, b in pairwise(history))
    assert history[-1].ended.date() - date(2026, 10, 31) <= timedelta(days=1)
    assert (history[-1].ended - history[0].ended).days == pytest.approx(3 * 365, abs=10)


def test_no_play_begins_before_the_one_before_it_ended(history: list[SimulatedPlay]) -> None:
    overlaps = [b for a, b in pairwise(history) if b.ended - timedelta(milliseconds=b.ms_played) < a.ended]
    assert overlaps == []


def test_people_skip_sometimes_and_listen_more_in_the_evening_than_before_dawn(
    history: list[SimulatedPlay],
) -> None:
    assert 0.05 < sum(play.skipped for play in history) / len(history) < 0.30
    hours = Counter(play.ended.hour for play in history)
    assert sum(hours[h] for h in range(18, 24)) > 10 * sum(hours[h] for h in range(2, 6))


def test_favourites_fade_and_new_ones_are_found(history: list[SimulatedPlay]) -> None:
    third = len(history) // 3
    early = {uri for uri, _ in Counter(p.track.uri for p in history[:third]).most_common(100)}
    late = {uri for uri, _ in Counter(p.track.uri for p in history[-third:]).most_common(100)}
    assert 0 < len(early & late) < 60


def test_albums_are_heard_in_order_and_podcasts_are_few(history: list[SimulatedPlay]) -> None:
    in_order = sum(
        1
        for a, b in pairwise(history)
        if not a.shuffle and a.track.album == b.track.album and a.track.uri != b.track.uri
    )
    assert in_order > len(history) // 10
    assert 0 < sum(play.track.show is not None for play in history) < len(history) // 100


def test_everything_says_that_it_is_simulated(history: list[SimulatedPlay]) -> None:
    for play in history:
        assert (play.track.show or play.track.artist).endswith("(simulated)")
        assert re.fullmatch(r"spotify:(track|episode):SIMULATED[0-9A-Za-z]{13}", play.track.uri)


def test_the_archive_is_spotifys_form_with_a_marker_and_the_same_bytes_for_the_same_seed(
    tmp_path: Path,
) -> None:
    first = write_archive(tmp_path / "a.zip", seed=3, plays=17_000, years=2)
    again = write_archive(tmp_path / "b.zip", seed=3, plays=17_000, years=2)
    other = write_archive(tmp_path / "c.zip", seed=4, plays=17_000, years=2)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
    with zipfile.ZipFile(first) as archive:
        assert b"SIMULATED" in archive.read(MARKER)
        parts = [name for name in archive.namelist() if name.endswith(".json")]
        assert all("/Streaming_History_Audio_" in name for name in parts)
        assert len(parts) == 2
        rows = [row for name in parts for row in json.loads(archive.read(name))]
    assert len(rows) == 17_000
    assert list(rows[0]) == FIELDS.split()
    assert all(row["ip_addr"] == "" for row in rows)
    assert all((row["spotify_track_uri"] is None) != (row["spotify_episode_uri"] is None) for row in rows)


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one play"):
        list(simulate(plays=0))
