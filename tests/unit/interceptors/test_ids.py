"""Identifiers sort by time and are never given twice."""

import re
import threading
import time

import pytest

from interceptors.ids import id_time, new_id


def test_an_id_is_a_uuid_of_version_7():
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", new_id())


def test_ids_increase_strictly_even_within_one_tick():
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_threads_never_share_an_id():
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


def test_ids_increase_when_the_clock_steps_back(monkeypatch):
    before = new_id()
    earlier = time.time_ns() - 10**12
    monkeypatch.setattr(time, "time_ns", lambda: earlier)
    assert new_id() > before


def test_ids_increase_when_the_clock_stands_still(monkeypatch):
    now = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)
    made = [new_id() for _ in range(100)]
    assert [one[:18] for one in made] == sorted({one[:18] for one in made})


def test_an_id_tells_when_it_was_made():
    assert abs(id_time(new_id()) - time.time()) < 60


def test_another_uuid_has_no_time():
    with pytest.raises(ValueError, match="UUIDv7"):
        id_time("a3bb189e-8bf9-4a88-9f3a-0c5b2d6f3b1e")
