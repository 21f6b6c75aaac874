"""Tables for people, on the terminal or in a file."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion.errors import printable


def show(rows: Sequence[dict[str, str | int]]) -> None:
    """Print rows under their keys, numbers right-aligned; print nothing if there are no rows."""
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else printable(value) for value in row.values())
        # As Text: otherwise words in brackets would be markup.
        table.add_row(*(Text(cell) for cell in cells))
    # In a file or a pipe lines are not wrapped, whatever FORCE_COLOR says.
    console = Console(force_terminal=None if sys.stdout.isatty() else False)
    console.width = console.width if console.is_terminal else 100_000
    console.print(table)
