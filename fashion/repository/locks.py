"""DVC's locks. DVC writes them in place, so that one killed at that moment leaves the first part of a lock."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fashion.errors import FashionError
from fashion.files import md5
from fashion.repository.commands import output

LOCKS = ("dvc.lock", "models/dvc.lock")
# The DVC whose first stage has looked at the locks.
WARNED = Path(".dvc/tmp/warned")
# The name of a stage, the only lines indented by two spaces.
ENTRY = re.compile(r"^  (\S[^:]*):$", re.MULTILINE)


def losses(dvc: str) -> Iterator[str]:
    """A warning for each lock that lacks entries of the last commit: DVC would go on without a word, and lose them.

    dvc: the process that runs this stage. The first of its stages gives the warnings.
    """
    with suppress(OSError):
        if WARNED.is_file() and WARNED.read_bytes() == dvc.encode():
            return
        WARNED.write_text(dvc, encoding="utf-8")
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


def changed(files: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The stages that last ran with another content of one of these files, the file, and the MD5 sum of that content.

    files: the content of each file now, by its path. Stages are called as in the locks: train@lenet5-0.
    """
    sums = {path: md5(text.encode()) for path, text in files.items()}
    for lock in LOCKS:
        # DVC itself reports a lock that it cannot read.
        with suppress(FileNotFoundError, YAMLError, ValueError, KeyError, TypeError, AttributeError):
            stages = YAML(typ="safe").load(Path(lock).read_text(encoding="utf-8"))["stages"]
            for stage, row in stages.items():
                for dep in row.get("deps", []):
                    if sums.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                        yield stage, dep["path"], dep["md5"]
