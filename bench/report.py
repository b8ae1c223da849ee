"""Tables of a benchmark: printed for people, kept as Markdown in `docs/bench/`."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
WIDTH = 120
"""Columns of a table that goes to no terminal."""


def median(values: Sequence[float]) -> float:
    """The median; benchmarks take several interleaved rounds because machines are noisy."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass
class Report:
    """One benchmark's result: what was measured and how, a table, and notes in words."""

    name: str
    title: str
    method: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Append one row."""
        self.rows.append([str(cell) for cell in cells])

    def publish(self) -> None:
        """Print the table and write it to `docs/bench/<name>.md`."""
        table = Table(title=self.title, caption=self.method)
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.name}.md").write_text(self._markdown())

    def _markdown(self) -> str:
        lines = [f"# {self.title}", "", self.method, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "|".join("---" if i == 0 else "---:" for i in range(len(self.columns))) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        day = datetime.now(UTC).date().isoformat()
        lines += ["", f"Measured {day} on {os.cpu_count()} cores, Python {platform.python_version()}."]
        return "\n".join(lines) + "\n"
