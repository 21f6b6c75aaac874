"""Tables for people, on the terminal or into a file."""

from collections.abc import Sequence


def show(rows: Sequence[dict[str, str | int]]) -> None:
    """Print rows under their keys, numbers to the right; nothing where there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else printable(value) for value in row.values())
        # As text: what stands in brackets would be markup.
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    # A file or a pipe takes lines of any length.
    console.width = console.width if console.is_terminal else 100_000
    console.print(table)


def printable(text: str) -> str:
    """A text with a mark in place of what breaks lines, steers terminals or cannot be written: files' names may."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
