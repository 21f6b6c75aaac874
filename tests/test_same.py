"""python -m tools same: code that computes the same bytes keeps its results, and code.json says so."""

import ast
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fashion.code.identity import Record
from fashion.environment import native
from fashion.files import md5
from fashion.settings.params import Params
from tests.conftest import REAL, ROOT, SEEDS, Workspace
from tests.test_docs import changes

SAME = (sys.executable, "-m", "tools", "same")
CHECK = (sys.executable, "-m", "stages", "check")
KEYS = ("lenet5", "lenet5_1998")
BUILDING, LAYERS, LANES = "fashion/networks/building.py", "fashion/networks/layers.py", "fashion/training/lanes.py"
# Code that computes the same: a layer that no row uses, a message, a variable, a function in two.
EDITS = [
    (
        BUILDING,
        '    "GELU": (nn.GELU, None),\n',
        '    "GELU": (nn.GELU, None),\n    "Hardswish": (nn.Hardswish, None),\n',
    ),
    (BUILDING, "layers: no layer has weights to train.", "layers: there are no weights to train."),
    (LANES, "for other in others:\n        total += other\n", "for more in others:\n        total += more\n"),
    (
        LANES,
        "def _is_fused(optimizer: torch.optim.Optimizer) -> bool:\n    return",
        "def _is_fused(one: Any) -> bool:\n    return _fused(one)\n\n\ndef _fused(optimizer: Any) -> bool:\n    return",
    ),
]
TRAININGS = ("lenet5-0", "lenet5-1", "lenet5_1998-0", "lenet5_1998-1")
CONSTANT = (LAYERS, "1.7159", "1.716")
# That of lenet5.
RATE = "      learning_rate: 0.1\n"


@pytest.fixture(scope="module")
def base(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with two small architectures and two seeds, whose code is recorded; to be copied, not changed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("same") / "project")
    workspace.keep(*KEYS)
    workspace.replace("params.yaml", SEEDS, SEEDS.removesuffix("- 2\n"))
    record(workspace, {"evaluate": "before"} | {f"train@{key}": f"before-{key}" for key in KEYS})
    workspace.commit("two architectures")
    return workspace


@pytest.fixture
def workspace(base: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it to change."""
    return base.copy(tmp_path / "project")


def record(workspace: Workspace, same_as: dict[str, str]) -> None:
    """Write a record that says this of the code in a project."""
    (workspace.folder / "code.json").write_text(Record(code=codes(workspace), same_as=same_as).model_dump_json())


def codes(workspace: Workspace) -> dict[str, str]:
    """The fingerprint of each stage's code in a project."""
    code = "from fashion.code.fingerprint import *; print({one: fingerprint(one) for one in stages()})"
    found: dict[str, str] = ast.literal_eval(workspace.run(sys.executable, "-c", code))
    return found


def identities(workspace: Workspace) -> dict[str, str]:
    """The identity of each training's code, and that of evaluate, after check."""
    workspace.run(*CHECK)
    codes = {key: workspace.json(f"data/inputs/train/{key}-0.json")["code"] for key in KEYS}
    return codes | {"evaluate": workspace.text("data/inputs/code/evaluate.txt").strip()}


def found(workspace: Workspace, *words: str) -> dict[str, str]:
    """What the tool finds for each row and stage."""
    output = workspace.run("env", f"FASHION_MNIST_MIRROR={REAL}", *SAME, "--json", *words)
    return {one["name"]: one["result"] for one in json.loads(output)["findings"]}


@pytest.mark.dvc
def test_text_that_nobody_compared_is_new(workspace: Workspace) -> None:
    """The record holds for the code that was compared; of other code it says nothing, and each identity is new."""
    known = {"lenet5": "before-lenet5", "lenet5_1998": "before-lenet5_1998", "evaluate": "before"}
    assert identities(workspace) == known
    workspace.replace(*CONSTANT)
    new = codes(workspace)
    assert identities(workspace) == {**dict.fromkeys(KEYS, new["train"]), "evaluate": new["evaluate"]}


@pytest.mark.dvc
def test_check_says_what_became_stale_and_through_what(workspace: Workspace) -> None:
    """One line counts the trainings, names the rows whose settings changed, and names the tool if code changed."""
    workspace.run(*CHECK)
    # The stages as DVC records them when they have run with these inputs.
    inputs = {f"train@{name}": f"data/inputs/train/{name}.json" for name in TRAININGS}
    inputs |= {"evaluate@lenet5-0": "data/inputs/code/evaluate.txt", "report": "data/inputs/code/report.txt"}
    stages = {
        name: {"deps": [{"path": path, "md5": md5(workspace.text(path).encode())}]} for name, path in inputs.items()
    }
    (workspace.folder / "models/dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    assert workspace.run(*CHECK) == ""
    workspace.replace("params.yaml", "fp32\n      learning_rate: 0.1", "fp32\n      learning_rate: 0.2")
    assert workspace.run(*CHECK) == "Stale: 2 trainings through settings of lenet5.\n"
    workspace.replace(LANES, "WHOLE = 64", "WHOLE = 128")
    advice = "through code (python -m tools same finds what computes the same as before)"
    assert workspace.run(*CHECK) == f"Stale: 2 trainings through settings of lenet5; 2 trainings {advice}.\n"
    workspace.run("git", "checkout", "--quiet", "params.yaml")
    assert workspace.run(*CHECK) == f"Stale: 4 trainings {advice}.\n"
    # After a comparison that found that one row computes something else.
    record(workspace, {"evaluate": "before", "train@lenet5": "before-lenet5"})
    assert workspace.run(*CHECK) == "Stale: 2 trainings through code.\n"


@pytest.mark.dvc
def test_a_new_setting_at_its_default_changes_no_description(checkout: Workspace, tmp_path: Path) -> None:
    """CONTRIBUTING's new augmentation is only in the descriptions of rows that use it."""
    workspace = checkout.copy(tmp_path / "project")

    def texts() -> dict[str, str]:
        record(workspace, {f"train@{key}": "x" for key in Params.load(ROOT / "params.yaml").models})
        workspace.run(*CHECK)
        return {file.stem: file.read_text() for file in workspace.folder.glob("data/inputs/train/*.json")}

    before = texts()
    (patch,) = (change for change in changes() if "darken" in change)
    (tmp_path / "patch").write_text(patch)
    workspace.run("git", "apply", str(tmp_path / "patch"))
    assert texts() == before
    workspace.replace("params.yaml", "augment: {erase: 4}}", "augment: {erase: 4, darken: 0.5}}")
    users = {name for name, text in texts().items() if text != before[name]}
    assert users
    assert users == {name for name, text in before.items() if '"erase": 4' in text}


@pytest.mark.parametrize("text", ["{", '{"code": {}, "same_as": []}', "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n"])
def test_a_damaged_record_is_reported(checkout: Workspace, tmp_path: Path, text: str) -> None:
    """A record that is damaged, or has a merge's conflicts, gives one sentence that says what to run."""
    workspace = checkout.copy(tmp_path / "project")
    (workspace.folder / "code.json").write_text(text)
    assert workspace.run(*CHECK, fails=True) == (
        "error: code.json is damaged, or in conflict after a merge: python -m tools same writes it anew, and "
        "python -m tools same BRANCH adds what equals the branch that was merged.\n"
    )


@pytest.mark.dvc
def test_code_that_computes_the_same_keeps_its_results(workspace: Workspace) -> None:
    """After edits that change no result every identity is as before; only code.json is written; it is right to commit.

    A row that is new has nothing to be compared with, and one with other settings trains again in any case.
    """
    before = identities(workspace)
    for file, old, new in EDITS:
        workspace.replace(file, old, new)
    changed = workspace.run("git", "status", "--porcelain")
    assert set(found(workspace).values()) == {"same"}
    assert workspace.run("git", "status", "--porcelain") == f" M code.json\n{changed}"
    assert identities(workspace) == before
    workspace.commit("edits")
    assert workspace.run(*SAME).startswith("No stage's code has changed since ")
    assert workspace.run("git", "status", "--porcelain") == ""
    # The next comparison is with this commit, which keeps the same identities.
    workspace.replace(LANES, "SLICE = 2**18", "SLICE = 262144")
    workspace.replace("params.yaml", "\nmodels:\n", "\nmodels:\n  twin: {like: lenet5}\n")
    workspace.replace("params.yaml", "learning_rate: 0.005", "learning_rate: 0.006")
    workspace.replace("fashion/data/splitting.py", "cumcount() + 0.5)", "cumcount() + 0.50)")
    assert found(workspace) == {
        "train@lenet5": "same",
        "evaluate@lenet5": "same",
        "train@lenet5_1998": "not compared",
        "train@twin": "new",
        "split": "same",
    }
    after = identities(workspace)
    assert after["lenet5"] == before["lenet5"]
    assert after["lenet5_1998"] == codes(workspace)["train"]


@pytest.mark.dvc
def test_only_rows_that_compute_something_else_are_new(workspace: Workspace) -> None:
    """A constant of one layer makes only the row with it new, and names the first epoch; the branch can be merged.

    After the merge, the row equals that of the other branch, and keeps the identity that it has there.
    """
    before = identities(workspace)
    workspace.run("git", "switch", "--quiet", "--create", "other")
    workspace.replace(*CONSTANT)
    output = workspace.run(*SAME)
    assert re.search(r"^lenet5 +same$", output, re.MULTILINE)
    assert re.search(r"^lenet5_1998 +differs +metrics/train/\S+\.tsv, line 2$", output, re.MULTILINE)
    assert output.splitlines()[-1].startswith("New: train@lenet5_1998. The rest computes what it did at ")
    other = identities(workspace)
    assert other == before | {"lenet5_1998": codes(workspace)["train"]}
    # A record that calls it the same is corrected.
    record(workspace, read(workspace).same_as | {"train@lenet5_1998": before["lenet5_1998"]})
    assert "code.json is not what python -m tools same finds" in workspace.run(".ci/record", fails=True)
    assert identities(workspace) == other
    workspace.commit("another constant")
    assert workspace.run(".ci/record").startswith("No stage's code has changed since ")

    workspace.run("git", "switch", "--quiet", "main")
    workspace.replace(*EDITS[1])
    assert set(found(workspace).values()) == {"same"}
    workspace.commit("another message")
    assert "CONFLICT (content): Merge conflict in code.json" in workspace.run("git", "merge", "other", fails=True)
    assert found(workspace)["train@lenet5_1998"] == "differs"
    assert found(workspace, "other")["train@lenet5_1998"] == "same"
    assert identities(workspace) == other


@pytest.mark.dvc
def test_a_row_that_this_processor_cannot_compute_is_not_compared(workspace: Workspace) -> None:
    """Without AVX512-BF16 a row in bf16 is left out, which says why, and its code is new; rows in fp32 are compared."""
    workspace.replace("params.yaml", f"precision: fp32\n{RATE}", f"precision: bf16\n{RATE}")
    workspace.commit("lenet5 in bf16")
    workspace.replace(*EDITS[2])
    lacking = "from tools import same; same.native = 'fp32'.__eq__; same.same('HEAD', [], False)"
    output = workspace.run("env", f"FASHION_MNIST_MIRROR={REAL}", sys.executable, "-c", lacking)
    assert re.search(
        r"^lenet5 +not compared +it is in bf16, and this processor lacks AVX512-BF16$", output, re.MULTILINE
    )
    assert re.search(r"^lenet5_1998 +same$", output, re.MULTILINE)
    after = identities(workspace)
    assert after["lenet5"] == codes(workspace)["train"]
    assert after["lenet5_1998"] == "before-lenet5_1998"


@pytest.mark.slow
def test_every_row_can_be_compared(checkout: Workspace, tmp_path: Path) -> None:
    """No row diverges by the short recipe: all that this processor can compute are compared."""
    workspace = checkout.copy(tmp_path / "project")
    workspace.replace(*EDITS[2])
    results = found(workspace, "HEAD")
    for key, row in Params.load(workspace.folder / "params.yaml").models.items():
        assert results[f"train@{key}"] == ("same" if native(row.train.precision) else "not compared")


def read(workspace: Workspace) -> Record:
    """The record of a project."""
    return Record.model_validate_json((workspace.folder / "code.json").read_text())


@pytest.mark.dvc
def test_an_edit_of_the_scores_leaves_trainings_alone(workspace: Workspace) -> None:
    """Other intervals make evaluate new, and no training; rows that were not named leave evaluate as it is: new."""
    before = identities(workspace)
    workspace.replace("fashion/judging/scores.py", "DEVIATIONS = 1.9", "DEVIATIONS = 2.9")
    results = found(workspace)
    assert results["evaluate"] == results["evaluate@lenet5"] == "differs"
    assert identities(workspace) == before | {"evaluate": codes(workspace)["evaluate"]}
    workspace.replace("fashion/judging/scores.py", "DEVIATIONS = 2.9", "DEVIATIONS = 0.0 + 1.9")
    assert found(workspace, "HEAD", "lenet5")["evaluate"] == "not compared"
    assert identities(workspace)["evaluate"] == codes(workspace)["evaluate"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nosuch"], "git has no commit 'nosuch': git log --oneline lists them, git fetch brings more."),
        (["HEAD", "lenet"], "no architecture of params.yaml is called 'lenet': did you mean lenet5?"),
    ],
)
def test_unknown_names_are_reported(workspace: Workspace, words: list[str], expected: str) -> None:
    """A commit or a row that does not exist gives one sentence."""
    assert workspace.run(*SAME, *words, fails=True) == f"error: {expected}\n"


@pytest.mark.dvc
@pytest.mark.parametrize("side", ["in this folder", r"at \w+"])
def test_code_that_fails_is_reported(workspace: Workspace, side: str) -> None:
    """One sentence names the command, the side and the cause, and the record stays as it was."""
    old = workspace.text("code.json")
    workspace.replace(LANES, "def end_epoch(self) -> None:\n", "def end_epoch(self) -> None:\n        nosuch\n")
    if side.startswith("at"):
        workspace.commit("broken")
        workspace.run("git", "checkout", "--quiet", "HEAD~1", "--", LANES)
    output = workspace.run(*SAME, "HEAD", fails=True)
    cause = rf"python -m stages train \S+ fails {side} \(NameError: name 'nosuch' is not defined\)"
    assert re.fullmatch(rf"error: {cause}: nothing was written; mend it, or name another commit\.\n", output)
    assert workspace.text("code.json") == old


@pytest.mark.dvc
def test_a_full_disk_is_reported(workspace: Workspace) -> None:
    """If files cannot become large enough, one sentence says so, and the record stays as it was."""
    old = workspace.text("code.json")
    workspace.replace(*CONSTANT)
    output = workspace.run("bash", "-c", f"ulimit -f 300; {' '.join(SAME)}", fails=True)
    assert re.fullmatch(r"error: git archive .*\n", output)
    assert workspace.text("code.json") == old


@pytest.mark.dvc
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: str(sent.name))
def test_an_interrupted_comparison_leaves_nothing(workspace: Workspace, tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end all processes; one sentence says so; no file is left or changed."""
    workspace.replace(*CONSTANT)
    changed = workspace.run("git", "status", "--porcelain")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = workspace.start("env", f"TMPDIR={scratch}", *SAME)
    while not [*scratch.glob("*/before-digits/metrics")]:
        assert process.poll() is None
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "error: interrupted; nothing was written.\n")
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert [*scratch.glob("tmp*")] == []
    assert workspace.run("git", "status", "--porcelain") == changed


@pytest.mark.dvc
def test_a_fork_computes_what_a_process_of_its_own_does(workspace: Workspace, tmp_path: Path) -> None:
    """The tool's commands, forks of a process with the libraries, write the bytes of python -m stages."""
    workspace.small(epochs=1)
    workspace.run("git", "commit", "--quiet", "--all", "--message", "digits")
    for command in (["check"], ["download"], ["split"]):
        workspace.run(sys.executable, "-m", "stages", *command)
    forked = workspace.copy(tmp_path / "forked")
    commands = [["train", "lenet5-0"], ["evaluate", "lenet5-0"], ["train", "nosuch"]]
    for command in commands[:2]:
        workspace.run(sys.executable, "-m", "stages", *command)
    lines = [json.dumps([str(forked.folder), str(tmp_path / "output"), command]) for command in commands]
    environment = forked.environment | {"MALLOC_MMAP_MAX_": "0"}
    done = subprocess.run(
        [sys.executable, "-P", ROOT / "fashion/code/forks.py"],
        input="\n".join(lines),
        text=True,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert done.stdout.split() == ["0", "0", "1"]
    assert (tmp_path / "output").read_text().startswith("error: no training is called 'nosuch'")
    for file in ("models/lenet5-0.safetensors", "metrics/evaluate/lenet5-0.json", "metrics/history/lenet5-0.csv"):
        assert (forked.folder / file).read_bytes() == (workspace.folder / file).read_bytes()
