"""Tables: what is printed is what is kept, and percentiles are what they say."""

from pathlib import Path

import pytest

from bench import report
from bench.report import Report, median, percentile


def test_percentiles_do_not_need_order() -> None:
    values = list(range(99, -1, -1))
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7.0
    assert median([5, 1, 3]) == 3


def test_a_report_is_kept_as_markdown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "bench")
    table = Report("things", "Things", "Counted twice.", ["thing", "each"])
    table.add("apple", 0.5)
    table.notes.append("Goal: more.")
    table.publish()
    kept = (tmp_path / "bench" / "things.md").read_text().splitlines()
    assert kept[:6] == ["# Things", "", "Counted twice.", "", "| thing | each |", "|---|---:|"]
    assert kept[6:9] == ["| apple | 0.5 |", "", "- Goal: more."]
    assert "apple" in capsys.readouterr().out
