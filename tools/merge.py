"""What git calls to merge what stages write: tools/merge.gitconfig registers it, .gitattributes says for which files.

Git runs it with the names of three versions: the common ancestor, ours, which the result replaces, and theirs.
"""

import re
import sys
from pathlib import Path

# A stage in a lock of DVC: a line indented by two spaces, and all below it.
ENTRY = re.compile(r"^(?=  \S)", re.MULTILINE)
# A table that a command writes into a page.
TABLE = re.compile(r"(?<=^<!-- table: )(.*?) -->\n.*?(?=^<!-- end -->)", re.MULTILINE | re.DOTALL)


def locks(ancestor: str, ours: str, theirs: str) -> str:
    """The lock with each stage's entry from the side that changed it; if both did, ours, and DVC compares."""
    (_, base), (head, mine), (their_head, other) = map(_entries, (ancestor, ours, theirs))
    chosen = {
        name: other.get(name) if mine.get(name) == base.get(name) else mine.get(name) for name in {**mine, **other}
    }
    return (head if mine else their_head) + "".join(entry for entry in chosen.values() if entry)


def _entries(lock: str) -> tuple[str, dict[str, str]]:
    """What comes before the first stage, and the text of each stage by its first line."""
    head, *entries = ENTRY.split(lock)
    return head, {entry.partition("\n")[0]: entry for entry in entries}


def with_tables_of(page: str, other: str) -> str:
    """A page with the tables of another, where both have one of that name."""
    tables = {table[1]: table[0] for table in TABLE.finditer(other)}
    return TABLE.sub(lambda table: tables.get(table[1], table[0]), page)


def main(kind: str, *paths: str) -> None:
    """Merge three locks into ours, or give two pages the tables of ours: then git merges the text around them."""
    files = [Path(path) for path in paths]
    ancestor, ours, theirs = (file.read_text(encoding="utf-8") for file in files)
    if kind == "locks":
        results = {files[1]: locks(ancestor, ours, theirs)}
    else:
        results = {files[0]: with_tables_of(ancestor, ours), files[2]: with_tables_of(theirs, ours)}
    for file, text in results.items():
        file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
