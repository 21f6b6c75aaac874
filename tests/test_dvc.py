"""The pipeline as users run it: real DVC in copies of the project, on `digits`."""

import csv
import json
import re
import shlex
import shutil
import signal
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from fashion.judging.comparing import LEVEL, holm, mcnemar
from fashion.showing.pages import percent
from tests.conftest import ROOT, SEEDS, Workspace

pytestmark = pytest.mark.dvc

KEYS = ("lenet5", "fcnn", "cnn")
# A training that prints this has saved a checkpoint: the first epoch's state is saved before the second one's line.
BEGUN = r"epoch +2/|resumes"
TRAININGS = {f"train@{key}-0" for key in KEYS}
BOARD, RESULTS = "models/dvc.yaml:leaderboard", "models/dvc.yaml:results"


@pytest.fixture(scope="module")
def finished(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy with lenet5 reported, and fcnn and cnn evaluated, after one epoch each; to be copied, not changed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("finished") / "project")
    workspace.small(epochs=1)
    workspace.run("dvc", "repro", "dvc.yaml", *(f"models/dvc.yaml:evaluate@{key}-0" for key in KEYS))
    workspace.commit("three architectures on digits")
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished run to change."""
    return finished.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def ranked(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same with two more seeds of lenet5, the leaderboard and the page of results; to be copied, not changed."""
    workspace = finished.copy(tmp_path_factory.mktemp("ranked") / "project")
    workspace.replace("params.yaml", "seeds:\n- 0\n", SEEDS)
    workspace.run("git", "rm", "--quiet", "metrics/ablation/*.json")
    # Scores on Fashion-MNIST, which the tables would leave out.
    for file in workspace.folder.glob("metrics/evaluate/*.json"):
        if file.stem not in {f"{key}-0" for key in KEYS}:
            file.unlink()
    others = [f"models/dvc.yaml:evaluate@lenet5-{seed}" for seed in (1, 2)]
    workspace.run("dvc", "repro", "models/dvc.yaml:neighbours", *others)
    workspace.run("dvc", "repro", "--single-item", BOARD, RESULTS)
    workspace.commit("two more seeds")
    return workspace


@pytest.fixture
def repeated(ranked: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it to change."""
    return ranked.copy(tmp_path / "project")


def predictions(workspace: Workspace, key: str) -> NDArray[np.int64]:
    """The true and the predicted label of each test image."""
    return np.loadtxt(workspace.folder / f"metrics/predictions/{key}-0.csv", np.int64, delimiter=",", skiprows=1)


def test_a_forced_training_gives_the_same_bytes(workspace: Workspace) -> None:
    """Every stage, run again, gives the outputs recorded in the locks, pictures included."""
    assert len(workspace.stages("repro", "--force")) == 7
    assert workspace.run("git", "status", "--porcelain") == ""


@pytest.fixture(scope="module")
def alexnet(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[str]]:
    """A copy after an experiment with AlexNet, and the stages that it ran."""
    workspace = finished.copy(tmp_path_factory.mktemp("alexnet") / "project")
    settings = ("model=alexnet", "models.alexnet.train.epochs=2", "models.alexnet.train.learning_rate=0.005")
    return workspace, workspace.stages("exp", "run", *(word for setting in settings for word in ("-S", setting)))


def test_an_experiment_trains_only_the_other_model(alexnet: tuple[Workspace, list[str]]) -> None:
    """`exp run -S model=alexnet` trains, evaluates and reports AlexNet, and changes one line for each setting."""
    workspace, ran = alexnet
    assert ran == ["check", "evaluate@alexnet-0", "report", "train@alexnet-0"]
    assert workspace.run("git", "diff", "--numstat", "params.yaml").split() == ["3", "3", "params.yaml"]


def test_metrics_diff_compares_two_models(alexnet: tuple[Workspace, list[str]]) -> None:
    """`metrics diff` shows the headline numbers of both models."""
    difference = json.loads(alexnet[0].run("dvc", "metrics", "diff", "--json"))["metrics/report.json"]
    assert difference["parameters"] == {"old": 44_426, "new": 7_954_122, "diff": 7_909_696}
    assert difference["model"]["new"] == "alexnet"


def test_plots_diff_overlays_two_models(alexnet: tuple[Workspace, list[str]]) -> None:
    """`plots diff` shows every plot with both revisions."""
    plots = json.loads(alexnet[0].run("dvc", "plots", "diff", "--json", "HEAD"))["data"]
    assert {"accuracy", "loss", "confusion", "calibration"} <= set(plots)
    for name in ("accuracy", "calibration"):
        assert {revision for plot in plots[name] for revision in plot["revisions"]} == {"HEAD", "workspace"}


def test_exp_show_lists_the_workspace_and_its_commit(alexnet: tuple[Workspace, list[str]]) -> None:
    """`exp show` lists the workspace and the commit that the experiment is based on."""
    assert len(json.loads(alexnet[0].run("dvc", "exp", "show", "--json"))) == 2


def test_a_missing_setting_is_refused(workspace: Workspace) -> None:
    """`-S` without `+` fails for a key that the row does not have, and no stage runs."""
    assert workspace.stages("exp", "run", "-S", "models.convnet.train.batch_size=256", fails=True) == []


def test_a_queue_trains_each_model(workspace: Workspace) -> None:
    """A sweep over two models gives two experiments, each of which reports its own model."""
    workspace.run("dvc", "exp", "run", "--queue", "-S", "model=fcnn,cnn")
    workspace.run("dvc", "queue", "start")
    assert workspace.finish_queue().count("Success") == 2
    # The guide's command shows no columns for files.
    command = re.search(r"dvc exp show .*", (ROOT / "docs/change-and-compare.md").read_text())
    assert command
    shown = workspace.run(*shlex.split(command[0]), "--csv").splitlines()[0].split(",")
    assert {"Experiment", "validation_accuracy", "params.yaml:model"} <= set(shown)
    assert not [name for name in shown if "/" in name]
    rows = csv.DictReader(workspace.run("dvc", "exp", "show", "--csv").splitlines())
    assert {row["metrics/report.json:model"] for row in rows if row["State"]} == {"fcnn", "cnn"}


def test_a_temporary_run_works_outside_the_workspace(workspace: Workspace) -> None:
    """`exp run --temp` reports its model as an experiment and leaves the workspace unchanged."""
    ran = workspace.stages("exp", "run", "--temp", "--name", "temporary", "-S", "model=fcnn")
    assert "report" in ran
    assert "train@fcnn-0" not in ran
    assert workspace.run("git", "status", "--porcelain") == ""
    workspace.run("dvc", "exp", "branch", "temporary", "kept")
    assert json.loads(workspace.run("git", "show", "kept:metrics/report.json"))["model"] == "fcnn"


MY_NET = """
  my_net:
    like: lenet5
    split: holdout_5k
"""


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("params.yaml", "# The whole pipeline's settings", "# All settings", set()),
        ("params.yaml", "  device: auto", "  device: cpu", set()),
        ("params.yaml", "\nsplits:\n", "\nsplits:\n  tenth: {train: 50000, validation: 6000, seed: 0}\n", set()),
        ("params.yaml", "\nmodels:\n", f"\nmodels:\n{MY_NET}", {"split", "train@my_net-0"}),
        ("params.yaml", "test_accuracy: 0.883", "test_accuracy: 0.884", {"report"}),
        ("params.yaml", "seeds:\n- 0\n", "seeds:\n- 0\n- 1\n", {"train@lenet5-1"}),
        (
            "params.yaml",
            "flatten: Flatten\n      dense1: {Linear: {out_features: 512}}",
            "flatten: Flatten\n      dense1: {Linear: {out_features: 500}}",
            {"train@fcnn-0"},
        ),
        ("params.yaml", "label_smoothing: 0.0", "label_smoothing: 0.2", {"train@cnn-0", "train@lenet5-0", "report"}),
        ("params.yaml", "  batch_size: 128", "  batch_size: 64", {*TRAININGS, "report"}),
        ("fashion/training/engine.py", '"""The training engine', '"""The engine of training', set()),
        ("fashion/networks/layers.py", "# As in torch.nn.Conv2d", "# Like in torch.nn.Conv2d", set()),
        ("fashion/showing/charts.py", "fontsize=8", "fontsize=9", {"report", "samples"}),
        ("fashion/networks/layers.py", "1.7159", "1.716", {*TRAININGS, "report"}),
    ],
)
def test_a_change_runs_only_what_it_affects(
    finished: Workspace, tmp_path: Path, file: str, old: str, new: str, stages: set[str]
) -> None:
    """Prose, devices and unused entries run only check; a shared setting retrains the rows that do not override it."""
    workspace = finished.copy(tmp_path / "project")
    workspace.replace(file, old, new)
    # A dry run would not write the files that later stages read.
    ran = workspace.stages("repro", "split")
    assert "check" in ran
    trained = [f"models/dvc.yaml:{name}" for name in ("evaluate@cnn-0", "evaluate@fcnn-0", "evaluate@lenet5-0")]
    trained += [f"models/dvc.yaml:{name}" for name in stages if re.search("my_net|-1", name)]
    ran += workspace.stages("repro", "--dry", "dvc.yaml", *trained)
    assert {stage for stage in ran if not stage.startswith("evaluate")} == stages | {"check"}


def test_a_new_order_of_layers_retrains(workspace: Workspace) -> None:
    """Another order of layers trains a new network, although DVC compares mappings without their order."""
    workspace.replace(
        "params.yaml",
        "      relu1: ReLU\n      dropout1: {Dropout: {p: 0.2}}\n",
        "      dropout1: {Dropout: {p: 0.2}}\n      relu1: ReLU\n",
    )
    assert "train@fcnn-0" in workspace.stages("repro", "models/dvc.yaml:train@fcnn-0")
    assert workspace.stages("repro") == []


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("conv3: {Conv2d: {out_channels: 120, kernel_size: 5}}", ".conv3: Conv2d does not fit its input (16, 4, 4)"),
        (
            "conv3: {ConstantPad2d: {padding: 0, value: .inf}}",
            ".conv3.ConstantPad2d.value is inf: it must be a finite number",
        ),
    ],
)
def test_an_impossible_architecture_is_reported(workspace: Workspace, layer: str, expected: str) -> None:
    """A layer that does not fit, or has an infinite number, is reported with its model before other stages run."""
    workspace.replace("params.yaml", "conv3: {Conv2d: {out_channels: 120, kernel_size: 4}}", layer)
    output = workspace.run("dvc", "repro", fails=True)
    assert re.findall(r"Running stage '(.*)'", output) == ["check"]
    assert f"params.yaml: models.lenet5.layers{expected}" in output
    assert "Traceback" not in output
    assert "git restore params.yaml" in output


def test_a_wrong_model_name_is_reported_and_undone(workspace: Workspace) -> None:
    """Only check runs, the message names the closest model, and `git restore params.yaml` undoes the change."""
    output = workspace.run("dvc", "exp", "run", "-S", "model=alexnett", fails=True)
    assert re.findall(r"Running stage '(.*)'", output) == ["check"]
    assert "model names 'alexnett', which does not exist: did you mean alexnet?" in output
    assert "Traceback" not in output
    workspace.run("git", "restore", "params.yaml")
    assert workspace.stages("repro") == []


def test_one_more_seed_is_one_more_training(repeated: Workspace) -> None:
    """One more seed trains once, one less trains nothing, and a clone without a cache has nothing to run."""
    workspace = repeated
    assert workspace.run("git", "status", "--porcelain") == ""
    targets = [f"models/dvc.yaml:evaluate@lenet5-{seed}" for seed in (1, 2)]
    workspace.replace("params.yaml", SEEDS, SEEDS + "- 3\n")
    ran = workspace.stages("repro", *targets, "models/dvc.yaml:evaluate@lenet5-3")
    assert ran == ["check", "evaluate@lenet5-3", "train@lenet5-3"]
    workspace.run("git", "checkout", "--quiet", "params.yaml")
    assert workspace.stages("repro", *targets) == []
    clone = workspace.clone(workspace.folder.parent / "clone")
    assert clone.stages("repro", "--dry", "--allow-missing", *targets) == []
    seeds = [workspace.json(f"metrics/evaluate/{name}.json")["seed"] for name in ("lenet5-0", "lenet5-1", "lenet5-2")]
    assert seeds == [0, 1, 2]


def test_the_leaderboard_ranks_what_is_evaluated(repeated: Workspace) -> None:
    """The leaderboard has the evaluated figures, the mean of the seeds, and the ties that McNemar's test finds."""
    board = repeated.json("metrics/leaderboard.json")
    assert set(board) == {"lenet5", "fcnn", "cnn"}
    tests = [repeated.json(f"metrics/evaluate/lenet5-{seed}.json")["test"]["accuracy"] for seed in range(3)]
    assert board["lenet5"]["seeds"]["test"] == {
        "seeds": 3,
        "mean": pytest.approx(np.mean(tests), abs=1e-6),
        "interval": pytest.approx(student.interval(0.95, 2, np.mean(tests), np.std(tests, ddof=1) / 3**0.5), abs=2e-6),
        "deviation": pytest.approx(np.std(tests, ddof=1), abs=1e-6),
        "p": None,
    }
    labels = {key: predictions(repeated, key) for key in board}
    pairs = list(combinations(sorted(board), 2))
    paired = [mcnemar(labels[one][:, 0], labels[one][:, 1], labels[other][:, 1]) for one, other in pairs]
    level = [pair for pair, p in zip(pairs, holm([test.p for test in paired]), strict=True) if p >= LEVEL]
    found = {(one, other) for one, row in board.items() for other in row["level_with"] if one < other}
    assert found == set(level)
    assert board["lenet5"]["published"] == {}  # published numbers are for Fashion-MNIST
    assert board["fcnn"]["test_accuracy"] == repeated.json("metrics/evaluate/fcnn-0.json")["test"]["accuracy"]
    with (repeated.folder / "metrics/leaderboard.csv").open() as file:
        ranks = [float(row["seeds_test_mean"]) for row in csv.DictReader(file)]
    assert ranks == sorted(ranks, reverse=True)


def test_the_results_count_what_all_networks_miss(repeated: Workspace) -> None:
    """The page counts the test images on which every network is wrong, and shows each network's accuracy."""
    page = (repeated.folder / "docs/results.md").read_text()
    missed = np.all([table[:, 0] != table[:, 1] for table in (predictions(repeated, key) for key in KEYS)], axis=0)
    assert f"- {missed.sum()} of {len(missed)} test images are misclassified by all of them" in page
    accuracy = repeated.json("metrics/evaluate/fcnn-0.json")["test"]["accuracy"]
    assert f"| `fcnn` | test | none | {percent(accuracy)} |" in page
    assert "Left out" not in page


def test_scores_of_other_settings_are_left_out(repeated: Workspace) -> None:
    """The tables omit rows whose settings, including the order of layers, changed after training, and name them."""
    workspace = repeated
    workspace.epochs("lenet5", 3)
    workspace.replace(
        "params.yaml",
        "      relu1: ReLU\n      dropout1: {Dropout: {p: 0.2}}\n",
        "      dropout1: {Dropout: {p: 0.2}}\n      relu1: ReLU\n",
    )
    workspace.stages("repro", "check")
    output = workspace.run("dvc", "repro", "--single-item", BOARD, RESULTS)
    note = "settings, code or methods have changed since: fcnn-0, lenet5-0, lenet5-1, lenet5-2."
    assert note in output
    assert note in (workspace.folder / "plots/leaderboard.html").read_text()
    assert note in (workspace.folder / "docs/results.md").read_text()
    assert set(workspace.json("metrics/leaderboard.json")) == {"cnn"}
    report = workspace.run(sys.executable, "-m", "stages", "report", fails=True)
    assert report == "error: lenet5-0 is not evaluated with the current settings and code: run dvc repro.\n"


@pytest.fixture
def long(workspace: Workspace) -> Workspace:
    """A copy in which lenet5 trains for fifty epochs."""
    workspace.epochs("lenet5", 50)
    workspace.run("dvc", "repro", "check")
    workspace.commit("train longer")
    return workspace


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: str(sent.name))
def test_an_interrupted_training_resumes(long: Workspace, sent: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end a training with one sentence, and the same command resumes it."""
    command = [sys.executable, "-m", "stages", "train", "lenet5-0"]
    process = long.running(*command, until=BEGUN)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(
        r"error: lenet5-0: interrupted in epoch \d+; the same command resumes the training\.", output.splitlines()[-1]
    )
    assert "Traceback" not in output
    assert "lenet5-0: resumes after epoch" in long.run(*command)


# A shell between dvc and its stages keeps running (dash, Debian's sh) or is replaced by the command (bash).
@pytest.mark.parametrize(
    ("shell", "command"),
    [
        ("bash", ["repro"]),
        pytest.param("sh", ["exp", "run", "--temp"], marks=pytest.mark.slow),
        pytest.param("sh", ["exp", "run"], marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_killed_run_resumes(
    long: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, command: list[str]
) -> None:
    """If the training or dvc is killed, no training keeps running, and the same command resumes to the same bytes."""
    monkeypatch.setenv("SHELL", shutil.which(shell) or "/bin/sh")
    uninterrupted = long.copy(tmp_path / "uninterrupted")
    uninterrupted.run("dvc", "repro")

    for victim in ("training", "dvc"):
        process = long.running("dvc", *command, until=BEGUN)
        training = next(child for child in psutil.Process(process.pid).children(True) if "train" in child.cmdline())
        (training if victim == "training" else process).kill()
        process.communicate(timeout=60)
        training.wait(timeout=60)

    output = long.run("dvc", *command)
    assert "lenet5-0: resumes after epoch" in output
    if "--temp" in command:
        name = re.search(r"Ran experiment\(s\): (\S+)", output)
        assert name, output
        long.run("dvc", "exp", "branch", name[1], "kept")
        long.run("git", "checkout", "--quiet", "kept", "--", "dvc.lock", "models/dvc.lock")
    for lock in ("dvc.lock", "models/dvc.lock"):
        assert (long.folder / lock).read_text() == (uninterrupted.folder / lock).read_text()


def test_dvc_writes_the_pipelines_as_they_are(workspace: Workspace) -> None:
    """Commands of DVC that write dvc.yaml, such as `freeze`, change no other line: it has DVC's own style."""
    for file, stage in (("dvc.yaml", "download"), ("models/dvc.yaml", "models/dvc.yaml:neighbours")):
        before = workspace.text(file)
        workspace.run("dvc", "freeze", stage)
        workspace.run("dvc", "unfreeze", stage)
        assert workspace.text(file) == before
