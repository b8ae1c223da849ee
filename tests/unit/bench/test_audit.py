"""The audit benchmark: its table is made of medians, and its figures stand on records that are there."""

import pytest

from bench import audit


def test_the_table_holds_the_medians_and_their_ratio() -> None:
    sink = [(70.0, [0.001]), (60.0, [0.002]), (9_999.0, [0.003])]
    group = [(200.0, [0.001]), (100.0, [0.001]), (1.0, [0.001])]
    lone = [(10.0, [0.001] * 99 + [0.5])] * 3
    table = audit.report(sink, group, lone, 500)
    assert [row[1:] for row in table.rows] == [
        ["70", "0.70", "2.00", "2.00"],
        ["100", "1.00", "1.00", "1.00"],
        ["10", "0.10", "1.00", "500.00"],
    ]
    assert "met" in table.notes[0]
    assert "missed" in audit.report([(69.0, [0.001])] * 3, group, lone, 500).notes[0]


def test_both_ways_store_every_record() -> None:
    entries = [audit.entry() for _ in range(200)]
    rate, waits = audit.through_sink(entries)
    assert rate > 0
    assert len(waits) == 200
    _, waits = audit.raw(entries, 64)
    assert len(waits) == 4, "200 records are four commits of 64 at most"


def test_a_record_that_is_missing_spoils_the_figure() -> None:
    entries = [audit.entry() for _ in range(10)]
    with pytest.raises(RuntimeError, match="9 of 10"):
        audit.through_sink([*entries[:9], entries[0]])
