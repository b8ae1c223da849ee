"""`python -m bench`: unknown names, and a tool that is not there."""

from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, main


def test_an_unknown_name_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "road" in capsys.readouterr().err


def test_without_h2load_its_tables_are_skipped_in_so_many_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["road", "edge", "triton"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "road is skipped",
        "edge is skipped",
        "triton is skipped",
    ]
    assert "h2load is not installed" in told[0]


def test_every_benchmark_is_a_module() -> None:
    folder = Path(__file__).resolve().parents[3] / "bench"
    assert all((folder / f"{name}.py").is_file() for name in BENCHMARKS)
