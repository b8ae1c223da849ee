"""The file of signed checkpoints: private, monotonic, thinned by the hour, shared by workers."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.compliance.adapters.checkpoint_file import CheckpointFile, SignedCheckpoint
from services.compliance.checkpoint import Checkpoint

HOUR = 3_600_000_000_000


def signed(size: int, at: int = 0, origin: str = "polyphony/acme") -> SignedCheckpoint:
    return SignedCheckpoint(Checkpoint(origin, size, bytes([size % 256]) * 32), f"note {size}\n", at)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apart" / "checkpoints.db"


@pytest.fixture
def file(path: Path) -> Iterator[CheckpointFile]:
    file = CheckpointFile(path)
    file.open()
    yield file
    file.close()


def sizes(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        return [size for (size,) in connection.execute("SELECT size FROM checkpoints ORDER BY size")]


def test_only_its_owner_reads_it(file: CheckpointFile, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_newest_is_the_largest_and_never_shrinks(file: CheckpointFile) -> None:
    assert file.newest("polyphony/acme") is None
    file.put(signed(5))
    file.put(signed(9, HOUR))
    file.put(signed(7, 2 * HOUR))
    file.put(signed(9, 3 * HOUR))
    assert file.newest("polyphony/acme") == signed(9, HOUR)
    assert file.newest("polyphony/other") is None


def test_an_hour_keeps_its_last(file: CheckpointFile, path: Path) -> None:
    for size, at in ((1, 0), (2, 1), (3, HOUR - 1), (4, HOUR), (5, 3 * HOUR)):
        file.put(signed(size, at))
    assert sizes(path) == [3, 4, 5]


def test_workers_share_it(file: CheckpointFile, path: Path) -> None:
    other = CheckpointFile(path)
    other.open()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (file, other)[n % 2].put(signed(n + 1, n * HOUR)), range(100)))
    assert file.newest("polyphony/acme") == other.newest("polyphony/acme") == signed(100, 99 * HOUR)
    other.close()


def test_it_survives_a_restart(file: CheckpointFile, path: Path) -> None:
    file.put(signed(3))
    file.close()
    again = CheckpointFile(path)
    with pytest.raises(RuntimeError, match="not open"):
        again.newest("polyphony/acme")
    again.open()
    assert again.newest("polyphony/acme") == signed(3)
    again.close()
