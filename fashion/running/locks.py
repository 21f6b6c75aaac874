"""DVC's locks. DVC writes them in place, so that one killed at that moment leaves the first part of a lock."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fashion.errors import FashionError
from fashion.running.commands import output

LOCKS = ("dvc.lock", "models/dvc.lock")
# The name of a stage, the only lines indented by two spaces.
ENTRY = re.compile(r"^  (\S[^:]*):$", re.MULTILINE)


def losses() -> Iterator[str]:
    """A warning for each lock that lacks entries of the last commit: DVC would go on without a word, and lose them."""
    for lock in LOCKS:
        # Without git, or before the first commit, nothing can be missing; a deleted lock was deleted on purpose.
        with suppress(FashionError, FileNotFoundError):
            committed = output("git", "show", f"HEAD:./{lock}")
            missing = {*ENTRY.findall(committed)} - {
                *ENTRY.findall(Path(lock).read_text(encoding="utf-8", errors="replace"))
            }
            if missing:
                yield (
                    f"warning: {lock} lacks {len(missing)} of the entries in the last commit, as after a kill while "
                    f"DVC wrote it. If you did not remove them, stop, and run: git restore {lock}"
                )
