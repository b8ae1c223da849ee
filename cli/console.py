"""How the command speaks: tables and colour to a person, bare tab-separated lines to a script."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Plain = Annotated[bool, typer.Option("--plain", help="Bare lines for scripts: no colour, no tables.")]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str = "", style: str | None = None) -> None:
    """One line to standard output; `style` shows on a terminal only."""
    _out.print(escape(line), style=style)


def complain(line: str) -> None:
    """One line to standard error."""
    _err.print(f"[bold red]{escape(line)}[/]")


def note(line: str) -> None:
    """One line to standard error that is not a complaint."""
    _err.print(escape(line), style="dim")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, plain: bool, styles: Sequence[str] = ()
) -> None:
    """Rows under headings; with `plain`, the rows alone, their cells separated by tabs.

    `styles` gives each row a rich style; a row beyond its end has none.
    """
    if plain:
        for row in rows:
            print("\t".join(row))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for index, row in enumerate(rows):
        shown.add_row(*(escape(cell) for cell in row), style=styles[index] if index < len(styles) else None)
    _out.print(shown)
