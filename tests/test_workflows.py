"""The workflows of GitHub Actions: their permissions, and what their shell steps do when they run here."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fashion.settings.params import Params
from fashion.settings.params import stage as stage_of
from fashion.showing.pages import percent
from tests.conftest import ROOT, Workspace

PATHS = [*ROOT.glob(".github/workflows/*.yaml"), ROOT / "examples/github-actions.yaml"]
FILES = {path.stem: path for path in PATHS}
WORKFLOWS = {name: YAML(typ="safe").load(path) for name, path in FILES.items()}
JOBS = {f"{name}/{key}": job for name, workflow in WORKFLOWS.items() for key, job in workflow["jobs"].items()}
RUNS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
# How Actions runs a step under `shell: bash`.
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")


def step(job: str, start: str) -> str:
    """The command of the only step of a job that starts with this text."""
    (text,) = (one["run"] for one in JOBS[job]["steps"] if one.get("run", "").startswith(start))
    return str(text)


def play(workspace: Workspace, text: str, *environment: str, fails: bool = False) -> str:
    """Run a step as Actions does, with additional variables, NAME=VALUE, and return its output."""
    return workspace.run("env", *environment, *SHELL, text, fails=fails)


@pytest.fixture(scope="module")
def trained(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project with lenet5 and fcnn trained on `digits` in a second commit; to be cloned, not changed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("trained") / "project")
    workspace.keep("lenet5", "fcnn")
    workspace.small(epochs=1)
    workspace.commit("two architectures on digits")
    workspace.run("dvc", "repro", "--all-pipelines")
    workspace.commit("train both")
    return workspace


@pytest.fixture
def clone(trained: Workspace, tmp_path: Path) -> Workspace:
    """A clone of it without a cache, as on a runner."""
    return trained.clone(tmp_path / "clone")


@pytest.mark.dvc
def test_examples_train_every_architecture(checkout: Workspace, tmp_path: Path) -> None:
    """GitHub's example has one worker for each architecture and each of its seeds in params.yaml."""
    params = Params.load(ROOT / "params.yaml")
    play(checkout, step("github-actions/list", "stages="), f"GITHUB_OUTPUT={tmp_path / 'output'}")
    name, stages = (tmp_path / "output").read_text().split("=", 1)
    assert name == "stages"
    names = [params.name(key, seed) for key in params.models for seed in params.seeds_of(key)]
    assert sorted(json.loads(stages)) == sorted(stage_of("evaluate", name).partition(":")[2] for name in names)


@pytest.mark.parametrize("text", RUNS)
def test_steps_are_good_shell(text: str) -> None:
    """Shellcheck finds nothing in any step, and no step has an expression, which Actions would insert unquoted."""
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--shell=bash", "-"], input=text, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "${{" not in text


@pytest.mark.dvc
def test_a_release_has_weights_with_their_sums(clone: Workspace) -> None:
    """A tag makes a release with the chosen architecture's weights, ONNX file and card, and sums that match."""
    assert WORKFLOWS["release"]["on"] == {"push": {"tags": ["v*"]}}
    steps = [one["run"] for one in JOBS["release/release"]["steps"] if "run" in one]
    words = ["make", "echo", "version", "dvc", "if", "dvc", "model", "gh"]
    assert [re.split("[ =]", text)[0] for text in steps] == words
    tag = f"GITHUB_REF_NAME=v{VERSION}"
    for text in steps[2:7]:
        play(clone, text, tag)
    files = sorted(path.name for path in (clone.folder / "release").iterdir())
    assert files == ["SHA256SUMS", "lenet5.md", "lenet5.onnx", "lenet5.safetensors"]
    assert clone.run("sh", "-c", "cd release && sha256sum --check --strict SHA256SUMS").count(": OK") == 3
    refused = play(clone, steps[2], "GITHUB_REF_NAME=v9.9.9", fails=True)
    assert refused == f"error: the tag is v9.9.9, and pyproject.toml has version {VERSION}\n"


@pytest.mark.dvc
def test_a_release_of_other_weights_is_refused(clone: Workspace) -> None:
    """If this machine's weights are not those of the committed lock, the job ends before it makes files to publish."""
    committed = clone.json("metrics/evaluate/lenet5-0.json")["weights"]
    clone.replace("models/dvc.lock", committed, "a" * 32)
    clone.commit("weights of another machine")
    play(clone, "dvc repro")
    refused = play(clone, step("release/release", "if ! git diff"), fails=True)
    assert refused.splitlines()[-1].startswith("error: this machine's weights are not the committed ones")


@pytest.mark.dvc
@pytest.mark.parametrize("model", ["lenet5; touch owned", "$(touch owned)", "alexnett", "lenet5,fcnn", "--json", ""])
def test_a_wrong_model_is_refused(checkout: Workspace, model: str) -> None:
    """A name that is not an architecture's ends the job with a message, and is never run as a command."""
    output = play(checkout, step("train/train", "python -m tools models"), f"MODEL={model}", fails=True)
    assert re.search("no architecture (of params.yaml is called|is named)", output)
    assert "Traceback" not in output
    assert not (checkout.folder / "owned").exists()


@pytest.mark.dvc
def test_a_right_model_passes(checkout: Workspace) -> None:
    """With the name of an architecture the step succeeds."""
    assert "44,426 trainable parameters" in play(
        checkout, step("train/train", "python -m tools models"), "MODEL=lenet5"
    )


@pytest.mark.dvc
def test_without_a_remote_nothing_is_trained(checkout: Workspace, tmp_path: Path) -> None:
    """The job checks the model's name and DVC's remote before it trains, and ends if there is no remote."""
    copy = checkout.copy(tmp_path / "copy")
    copy.run("dvc", "remote", "default", "--unset")
    assert "No default remote" in play(copy, step("train/train", "dvc remote default"), fails=True)
    before, _ = "\n".join(one.get("run", "") for one in JOBS["train/train"]["steps"]).split("dvc exp run")
    assert re.findall("tools models|remote default", before) == ["tools models", "remote default"]


@pytest.mark.dvc
def test_the_summary_shows_what_changed(clone: Workspace, tmp_path: Path) -> None:
    """The step writes settings, metrics and paired tests as Markdown, for the summary and for the comment."""
    summary = tmp_path / "summary.md"
    clone.replace("params.yaml", "learning_rate: 0.1", "learning_rate: 0.2")
    play(clone, step("ci/results", "{ dvc params diff"), base(clone, tmp_path), f"GITHUB_STEP_SUMMARY={summary}")
    words = summary.read_text()
    assert words == (clone.folder / "diff.md").read_text()
    assert re.search(r"\| params.yaml +\| models.lenet5.train.learning_rate +\| 0.1 +\| 0.2 +\|", words)
    assert re.search(r"\| metrics/report.json +\| test_accuracy ", words)
    assert f"### Accuracies since `{clone.run('git', 'rev-parse', '--short', 'HEAD^1').strip()}`" in words


@pytest.mark.dvc
def test_an_edited_table_is_found(clone: Workspace) -> None:
    """README's table and docs/results.md must be what the stage results writes."""
    assert play(clone, ".ci/pages").count("docs/results.md: 2 architectures.") == 1
    number = percent(clone.json("metrics/leaderboard.json")["lenet5"]["test_accuracy"])
    clone.replace("README.md", number, percent(0.99))
    clone.commit("wrong")
    assert "error: run dvc repro --single-item models/dvc.yaml:leaderboard" in play(clone, ".ci/pages", fails=True)


def base(workspace: Workspace, folder: Path) -> str:
    """The variable with the commit to compare with, as a step sets it."""
    play(workspace, step("ci/results", 'echo "BASE='), f"GITHUB_ENV={folder / 'env'}")
    return (folder / "env").read_text().strip()


def test_a_first_commit_is_compared_with_itself(tmp_path: Path) -> None:
    """A later commit is compared with its first parent, and the first commit of a repository with itself."""
    repository = Workspace(tmp_path / "repository")
    repository.folder.mkdir()
    repository.run("git", "init", "--quiet")
    for name in ("first", "second"):
        (repository.folder / name).touch()
        repository.commit(name)
        (tmp_path / "env").unlink(missing_ok=True)
        assert (
            base(repository, tmp_path) == f"BASE={repository.run('git', 'rev-list', '--max-parents=0', 'HEAD').strip()}"
        )


@pytest.mark.dvc
def test_plots_show_both_sides(clone: Workspace) -> None:
    """The step for plots writes a page that shows the previous commit and this one."""
    play(clone, step("ci/results", "dvc plots diff"), "BASE=HEAD^1")
    page = (clone.folder / "dvc_plots/index.html").read_text()
    assert "HEAD^1" in page
    assert "workspace" in page


@pytest.mark.dvc
@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("README.md", "# Fashion-MNIST", "# Fashion", ""),
        ("params.yaml", "# The whole", "# All the", ""),
        ("params.yaml", "epochs: 1\n      precision", "epochs: 2\n      precision", "train@lenet5-0"),
        ("params.yaml", "model: lenet5", "model: fcnn", "report"),
        ("fashion/showing/charts.py", "# Pixel for pixel", "# Each pixel for a pixel", ""),
        ("metrics/report.json", "lenet5", "lenet6", "report"),
        ("dvc.yaml", "cmd: python -m stages report", "cmd: python -m stages report --twice", "report"),
    ],
)
def test_stale_locks_are_found(
    clone: Workspace, trained: Workspace, tmp_path: Path, file: str, old: str, new: str, stale: str
) -> None:
    """With and without a cache, the check of the locks fails at the first stale stage other than check."""
    for workspace in (clone, trained.copy(tmp_path / "copy")):
        workspace.replace(file, old, new)
        output = play(workspace, ".ci/locks", fails=bool(stale))
        assert f"{stale}'" in output if stale else output == "The locks are current.\n"
        assert ("error: dvc.lock or models/dvc.lock is out of date" in output) == bool(stale)


@pytest.mark.dvc
def test_the_chosen_models_locks_can_be_checked_alone(clone: Workspace) -> None:
    """With a pipeline as argument, stale stages of the other one do not count."""
    clone.replace("metrics/evaluate/fcnn-0.json", "fcnn", "fcn")
    play(clone, ".ci/locks", fails=True)
    assert play(clone, ".ci/locks dvc.yaml") == "The locks are current.\n"


# GitHub's command line: it prints its arguments, makes the downloaded file, and finds these comments.
GH = """#!/usr/bin/env bash
case "$*" in
    run*) echo "### Changes" > diff.md; echo "$*" ;;
    *--paginate*) printf %s "$COMMENTS" ;;
    *) echo "$*" ;;
esac
"""


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ("", "pr comment 12 --body-file comment.md"),
        ("5\n77\n", "api --silent --method PATCH --field body=@comment.md repos/a/b/issues/comments/77"),
    ],
)
def test_one_comment_is_kept(tmp_path: Path, comments: str, expected: str) -> None:
    """The comment's job downloads the results of the job before it, and edits the last comment found or writes one."""
    gh = tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    runner = Workspace(tmp_path)
    steps = JOBS["ci/comment"]["steps"]
    mark = steps[1]["env"]["MARK"]
    environment = [f"PATH={gh.parent}:/usr/bin:/bin", "GH_REPO=a/b", "GITHUB_RUN_ID=7", "PULL_REQUEST=12"]
    environment += [f"MARK={mark}", f"COMMENTS={comments}"]
    assert [play(runner, one["run"], *environment) for one in steps] == [
        "run download 7 --name results\n",
        f"{expected}\n",
    ]
    assert (tmp_path / "comment.md").read_text() == f"{mark}\n### Changes\n"
    uploaded = [one["with"] for one in JOBS["ci/results"]["steps"] if "upload" in one.get("uses", "")]
    assert [one["name"] for one in uploaded] == ["results"]
    assert "diff.md" in uploaded[0]["path"].split()


def github(workspace: Workspace, folder: Path) -> list[str]:
    """An empty repository in place of that on GitHub, and the variables of a run that pushes to it."""
    workspace.run("git", "init", "--quiet", "--bare", str(folder))
    return [
        "TOKEN=secret",
        "GITHUB_REPOSITORY=a/b",
        "GITHUB_RUN_ID=7",
        "GITHUB_RUN_ATTEMPT=1",
        "GIT_CONFIG_COUNT=1",
        f"GIT_CONFIG_KEY_0=url.{folder}.insteadOf",
        "GIT_CONFIG_VALUE_0=https://x-access-token:secret@github.com/a/b",
    ]


@pytest.mark.dvc
def test_many_trainings_end_in_a_branch(clone: Workspace, tmp_path: Path) -> None:
    """The example of many machines pushes a branch with all that the stages write for git, README's tables too."""
    clone.replace("params.yaml", "learning_rate: 0.1", "learning_rate: 0.2")
    clone.commit("another setting")
    clone.run("dvc", "repro", "--all-pipelines")
    assert " M README.md" in clone.run("git", "status", "--porcelain")
    play(clone, step("github-actions/head", "git switch"), *github(clone, tmp_path / "github.git"))
    assert clone.run("git", "status", "--porcelain") == ""
    assert "fan-out-7-1" in clone.run("git", "ls-remote", str(tmp_path / "github.git"))


@pytest.mark.slow
def test_a_training_ends_in_a_branch_and_a_remote(clone: Workspace, tmp_path: Path) -> None:
    """The training job pushes a branch and weights: a clone of the branch has current locks and the same weights."""
    clone.run("dvc", "remote", "add", "--default", "team", str(tmp_path / "remote"))
    clone.commit("name the remote")
    environment = [
        *github(clone, tmp_path / "github.git"),
        "MODEL=fcnn",
        f"GITHUB_SHA={clone.run('git', 'rev-parse', 'HEAD').strip()}",
        f"GITHUB_STEP_SUMMARY={tmp_path / 'summary.md'}",
    ]
    for one in JOBS["train/train"]["steps"]:
        if "run" in one and "make setup" not in one["run"] and "GITHUB_PATH" not in one["run"]:
            play(clone, one["run"], *environment)
    assert "`lenet5-0` → `fcnn-0`, test images: " in (tmp_path / "summary.md").read_text()
    assert clone.run("git", "status", "--porcelain") == ""
    # A training that changes nothing pushes no branch.
    assert step("train/train", "git switch") == one["run"]
    play(clone, one["run"], *environment, "GITHUB_RUN_ID=8")
    assert "train-fcnn-8" not in clone.run("git", "ls-remote", str(tmp_path / "github.git"))
    assert "secret" not in (clone.folder / ".git/config").read_text()

    clone.run(
        "git", "clone", "--quiet", "--branch=train-fcnn-7-1", str(tmp_path / "github.git"), str(tmp_path / "other")
    )
    other = Workspace(tmp_path / "other")
    play(other, step("ci/results", ".ci/locks"))
    other.run("dvc", "pull", "-d", "report")
    weights = "models/fcnn-0.safetensors"
    assert (other.folder / weights).read_bytes() == (clone.folder / weights).read_bytes()
