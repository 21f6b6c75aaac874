"""What makes a stage run again: the fingerprint of its code, the description of a training, and nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fashion.code.fingerprint import closure, stripped
from fashion.errors import FashionError
from fashion.settings.description import unchanged
from fashion.settings.params import Params
from tests.conftest import ROOT, Workspace

SOURCE = '''\
"""A module.

Of two paragraphs.
"""

import os  # for a reason


class Thing:
    """A thing."""

    text = """one

    # two"""

    def work(self, x: int) -> str:
        """Work."""
        # Twice.
        return f"{x} # {x * 2}"
'''
# Appends every file that a stage opens for reading, with the stage's name, to the file that OPENED names.
HOOK = """\
import os, sys

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        mode, flags = arguments[1:]
        if not (mode and set(mode) & set("wax+")) and not flags & (os.O_WRONLY | os.O_RDWR):
            os.write(log, (stage + "\\t" + os.path.realpath(arguments[0]) + "\\n").encode())

if stage := os.environ.get("DVC_STAGE"):
    log = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    sys.addaudithook(hook)
"""


def test_a_description_may_not_change_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training whose description has changed at its end fails; one whose description was written again does not."""
    monkeypatch.chdir(tmp_path)
    file = Path("data/inputs/train/cnn-0.json")
    file.parent.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    description = Params.load().describe("cnn")
    file.write_text(description.text)
    with unchanged("cnn-0"):
        file.write_text(description.text)
    with (
        pytest.raises(FashionError, match=r"^settings or code of cnn-0 changed while it trained: "),
        unchanged("cnn-0"),
    ):
        file.write_text(description.model_copy(update={"code": "edited"}).text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module.", "Another module."),
        ("\n\nOf two paragraphs.\n", ""),
        ("  # for a reason", ""),
        ("        # Twice.\n", "        # Two times.\n        # That is, doubled.\n\n"),
        ('        """Work."""\n', ""),
        ("\n\n\nclass", "\nclass"),
    ],
)
def test_prose_changes_no_fingerprint(old: str, new: str) -> None:
    """Docstrings, comments and blank lines can be changed, added or removed without changing the stripped code."""
    assert old in SOURCE
    assert stripped(SOURCE.replace(old, new)) == stripped(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x * 3"),
        ("x: int", "x: float"),
        ("# two", "# three"),
        ("one\n\n", "one\n"),
        ("# {x", "#  {x"),
        ("    def work", "    @staticmethod\n    def work"),
        ('"""A thing."""\n', '"""A thing."""; size = 1\n'),
    ],
)
def test_code_changes_the_fingerprint(old: str, new: str) -> None:
    """Expressions, annotations and strings, with their blank lines and what looks like comments in them, are code."""
    assert old in SOURCE
    assert stripped(SOURCE.replace(old, new)) != stripped(SOURCE)


def test_stripping_keeps_the_code() -> None:
    """Lines of code stay unchanged and in order."""
    assert stripped(SOURCE).splitlines() == [
        "import os",
        "class Thing:",
        '    text = """one',
        "",
        '    # two"""',
        "    def work(self, x: int) -> str:",
        '        return f"{x} # {x * 2}"',
    ]


def test_a_fingerprint_covers_all_imports() -> None:
    """Training depends on layers and engine, but not on charts, scores or the settings of other stages."""
    files = {str(file.relative_to(ROOT)) for file in closure(ROOT / "stages/train.py")}
    assert {
        "stages/train.py",
        "fashion/training/engine.py",
        "fashion/networks/layers.py",
        "fashion/data/reading.py",
    } <= files
    assert not {file for file in files if re.search("charts|scores|evaluate|repository|cli", file)}


@pytest.fixture(scope="module")
def opened(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, set[str]]]:
    """The pipeline after a run on `digits` with one architecture and two seeds, and the files that Python opened."""
    workspace = checkout.copy(tmp_path_factory.mktemp("opened") / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=1)
    workspace.replace("params.yaml", "seeds:\n- 0\n", "seeds:\n- 0\n- 1\n")
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(HOOK)
    workspace.run("env", f"PYTHONPATH={folder}", f"OPENED={folder}/opened", "dvc", "repro", "--all-pipelines")
    found: dict[str, set[str]] = {}
    for line in (folder / "opened").read_text().splitlines():
        stage, path = line.split("\t")
        if Path(path).is_relative_to(workspace.folder):
            found.setdefault(stage.removeprefix("models/dvc.yaml:"), set()).add(
                str(Path(path).relative_to(workspace.folder))
            )
    return workspace, found


@pytest.fixture(scope="module")
def command_line() -> set[Path]:
    """The modules that `python -m stages` loads for every stage."""
    code = (
        "import sys, stages.__main__; print(*(getattr(one, '__file__', 0) for one in sys.modules.values()), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return {Path(line) for line in done.stdout.splitlines()}


@pytest.mark.dvc
def test_a_stage_opens_what_it_depends_on(
    opened: tuple[Workspace, dict[str, set[str]]], command_line: set[Path]
) -> None:
    """Every file that a stage opens in Python is among its deps, settings or outputs, or in its fingerprint."""
    workspace, found = opened
    locks = [YAML(typ="safe").load(workspace.folder / lock)["stages"] for lock in ("dvc.lock", "models/dvc.lock")]
    stages = {name: row for lock in locks for name, row in lock.items()}
    assert found.keys() == stages.keys() >= {"train@lenet5-0", "train@lenet5-1", "leaderboard", "results"}
    unknown = {}
    for name, row in stages.items():
        known = [entry["path"] for kind in ("deps", "outs") for entry in row.get(kind, [])]
        # Locks are compared with the last commit's, for a warning.
        known += ["dvc.lock", "models/dvc.lock"]
        # It also says where to compute, which is no input.
        known += ["params.yaml"] if "params" in row or re.search("train|evaluate", name) else []
        # The stage writes its table.
        known += ["README.md"] if name == "results" else []
        covered = closure(ROOT / f"stages/{row['cmd'].split()[3]}.py") | command_line
        # Hidden files are Git's and DVC's own, which dvclive reads, and checkpoints.
        files = {path for path in found[name] if not path.startswith(".")}
        files -= {path for path in files if any(Path(path).is_relative_to(one) for one in known)}
        sources = {path: source(path) for path in files}
        unknown[name] = {path for path, file in sources.items() if file not in covered}
    assert unknown == {name: set() for name in stages}


def source(path: str) -> Path:
    """The module whose bytecode a file holds, or the file itself."""
    return ROOT / re.sub(r"__pycache__/(\w+)\.cpython-\d+\.pyc$", r"\1.py", path)


@pytest.mark.dvc
def test_an_unknown_training_is_refused(opened: tuple[Workspace, dict[str, set[str]]]) -> None:
    """A name that is no training's is refused with the closest name, and one that may be a path by every stage."""
    workspace = opened[0]
    output = workspace.run(sys.executable, "-m", "stages", "train", "lenet5", fails=True)
    assert output == "error: no training is called 'lenet5': did you mean lenet5-1?\n"
    for stage in ("train", "evaluate"):
        output = workspace.run(sys.executable, "-m", "stages", stage, "../evil-0", fails=True)
        assert output == "error: no training is called '../evil-0': a name is KEY-SEED, lenet5-0 for example.\n"
