"""Time zones and the folding of hours."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.spotify.model import Offset, Tally, by_month_and_hour, offsets, zone

FROM = int(datetime(2007, 1, 1, tzinfo=UTC).timestamp())
TO = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
ZONES = (
    "UTC",
    "Europe/Paris",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Gaza",
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), st.integers(FROM, TO), st.integers(0, 3 * 366 * 86_400), st.data())
def test_offsets_hold_at_every_instant(name: str, first: int, length: int, data: st.DataObject) -> None:
    of = ZoneInfo(name)
    found = offsets(of, first, first + length)
    assert found[0].since == first
    assert found == sorted(found)
    at = data.draw(st.integers(first, first + length))
    assert _seconds(of, at) == [offset.seconds for offset in found if offset.since <= at][-1]


def test_offsets_change_at_the_second() -> None:
    summer = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp())
    assert offsets(ZoneInfo("Europe/Paris"), summer - 5, summer + 5) == [
        Offset(summer - 5, 3_600),
        Offset(summer, 7_200),
    ]


def _seconds(of: ZoneInfo, instant: int) -> float:
    offset = datetime.fromtimestamp(instant, of).utcoffset()
    assert offset is not None
    return offset.total_seconds()


def test_months_have_no_gaps() -> None:
    november = int(datetime(2023, 11, 5, 23, tzinfo=UTC).timestamp()) // 3_600
    february = int(datetime(2024, 2, 1, tzinfo=UTC).timestamp()) // 3_600
    months, hours = by_month_and_hour(
        [(february, Tally(2, 20)), (november, Tally(1, 5)), (november + 24, Tally(1, 6))]
    )
    assert months == [
        ("2023-11", Tally(2, 11)),
        ("2023-12", Tally()),
        ("2024-01", Tally()),
        ("2024-02", Tally(2, 20)),
    ]
    assert (hours[23], hours[0], hours[12]) == (Tally(2, 11), Tally(2, 20), Tally())
    assert by_month_and_hour([]) == ([], [Tally()] * 24)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "\0", "x" * 5_000]
)
def test_names_that_are_no_zone(name: str) -> None:
    assert zone(name) is None


def test_no_name_is_utc() -> None:
    assert zone("") == ZoneInfo("UTC")
