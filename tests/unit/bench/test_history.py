"""The import benchmark: the bare baseline stores the very rows, and the table is made of medians."""

import asyncio
import sqlite3
from pathlib import Path

from bench import bare_history, history
from bench.history_process import Imported, import_file, read_file
from cli.simulation import write_archive

SMALL, LARGE = history.SIZES


async def test_the_baseline_stores_what_the_import_stored(tmp_path: Path) -> None:
    (tmp_path / "imported").mkdir()
    (tmp_path / "bare").mkdir()
    imported = await import_file(write_archive(tmp_path / "history.zip", plays=500), tmp_path / "imported")
    assert imported.plays == 500
    assert read_file(tmp_path / "history.zip").plays == 500
    batches = bare_history.rows_of(tmp_path / "imported")
    # `store` makes its tables on an event loop of its own.
    bare = await asyncio.to_thread(bare_history.store, batches, tmp_path / "bare")
    assert bare.plays == 500
    for table in ("plays", "contents"):
        first, second = (
            sqlite3.connect(tmp_path / folder / "spotify.db").execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            for folder in ("imported", "bare")
        )
        assert first == second
        assert first


def test_the_table_holds_the_medians_and_their_ratio() -> None:
    def took(*seconds: float, peak: int = 0) -> dict[int, list[Imported]]:
        rounds = [Imported(LARGE, each, each / 2, peak) for each in seconds]
        return {SMALL: rounds, LARGE: rounds}

    table = history.report(
        {
            history.BARE: took(1, 1, 9),
            history.READING: took(0.5, 0.5, 0.5),
            history.ALONE: took(2, 2, 50, peak=2**20),
            history.ROAD: took(4, 4, 4, peak=2**21),
            history.EDGE: took(5, 5, 5, peak=2**21),
        }
    )
    assert [row[1:] for row in table.rows] == [
        ["100,000", "1.00", "5.0", "", ""],
        ["200,000", "2.00", "2.5", "", ""],
        ["50,000", "0.50", "10.0", "1.0 MiB", "1.0 MiB"],
        ["25,000", "0.25", "20.0", "2.0 MiB", "2.0 MiB"],
        ["20,000", "0.20", "25.0", "2.0 MiB", "2.0 MiB"],
    ]
    assert "met" in table.notes[0]
    assert "7.5 µs of a core, which alone would be 0.67 of bare" in table.notes[1]
    assert table.notes[2].endswith("1.00 times the memory: flat.")
