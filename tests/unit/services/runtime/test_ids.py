"""Ids are UUIDv7 text, in the order of their making, also across threads."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from interceptors.ids import id_time, new_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = new_id()
    assert re.fullmatch(r"[a-z0-9-]{36}", made)
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)
    assert str(uuid.UUID(made)) == made


def test_ids_of_one_process_increase_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_id() for _ in range(5000)]
    assert made == sorted(set(made))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**9)  # the clock steps back
    assert made[-1] < new_id() < new_id()


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [i for part in threads.map(lambda _: [new_id() for _ in range(2000)], range(8)) for i in part]
    assert len(set(made)) == 16_000


def test_the_time_of_an_id_can_be_read() -> None:
    assert abs(id_time(new_id()) - time.time()) < 10
    for bad in ("", "x", str(uuid.uuid4()), "users/u"):
        with pytest.raises(ValueError, match="UUIDv7"):
            id_time(bad)
