"""Tables as Markdown, and the places for them in pages written by hand."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

PLACE = re.compile(r"(<!-- table: (\w+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def filled(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page with these tables, by name, between the comments `<!-- table: NAME -->` and `<!-- end -->`."""
    return PLACE.sub(lambda place: f"{place[1]}{tables[place[2]]()}\n{place[3]}", page)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """A table; the columns with the numbers in `right` are aligned to the right."""
    rule = "|".join("--:" if column in right else "---" for column in range(len(head)))
    return "\n".join([_row(head), f"|{rule}|", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
