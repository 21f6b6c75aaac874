"""Tables as Markdown."""

from collections.abc import Container, Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """A table; the columns with the numbers in `right` are aligned to the right."""
    rule = "|".join("--:" if column in right else "---" for column in range(len(head)))
    return "\n".join([_row(head), f"|{rule}|", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
