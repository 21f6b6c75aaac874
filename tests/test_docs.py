"""README, docs and CONTRIBUTING: links, tables and the tree of files are right, and the commands work."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from benchmarks import tables
from benchmarks.__main__ import app as benchmarks
from fashion.settings.params import Params
from fashion.showing.markdown import filled
from stages.__main__ import app as stages
from tests.conftest import ROOT, Workspace
from tools.__main__ import app as tools

PAGES = {path.name: path for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]}
# The pages whose commands run below. Those of trouble.md run in tests/test_stress.py, after the failures they fix.
RUN = ["change-and-compare.md", "compare.md", "how-it-works.md", "predict.md", "reproduce.md", "share.md"]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_have_targets(name: str) -> None:
    """Every relative link of a page leads to an existing file, and every anchor to a heading."""
    path = PAGES[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = (path.parent / file) if file else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text()), link


def test_the_readme_is_short() -> None:
    """README fits on a few screens; everything else is in docs/."""
    assert len(PAGES["README.md"].read_text().splitlines()) < 200


def test_generated_tables_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of docs/speed.md and docs/predict.md are those of the committed figures; .ci/pages checks README's."""
    monkeypatch.chdir(ROOT)
    for page in tables.PAGES:
        text = page.read_text()
        assert filled(text, tables.TABLES) == text


def test_the_citation_is_of_this_version() -> None:
    """CITATION.cff states the version and the licence of pyproject.toml."""
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"]


def test_every_architecture_is_in_the_readme(params: Params) -> None:
    """README's table has a row for each architecture that is evaluated, and no other."""
    rows = re.findall(r"^\| `(\w+)` \|", PAGES["README.md"].read_text(), re.MULTILINE)
    board = json.loads((ROOT / "metrics/leaderboard.json").read_text())
    assert rows == [key for key in params.models if key in board]


def test_empty_sections_are_filled_one_by_one() -> None:
    """A section ends at the next end, also while both are empty, and is replaced as a whole when it is not."""
    made = {"one": lambda: "1", "two": lambda: "2"}
    empty = "a\n<!-- table: one -->\n<!-- end -->\nb\n<!-- table: two -->\n<!-- end -->\n"
    full = "a\n<!-- table: one -->\n1\n<!-- end -->\nb\n<!-- table: two -->\n2\n<!-- end -->\n"
    assert filled(empty, made) == full
    assert filled(full.replace("1", "old\nrows"), made) == full


@pytest.mark.parametrize("name", PAGES)
def test_commands_exist(name: str) -> None:
    """Every command of this project that a page mentions exists."""
    apps: dict[str, Any] = {"stages": stages, "tools": tools, "benchmarks": benchmarks}
    for app, command in re.findall(r"python -m (stages|tools|benchmarks) ([a-z]+)", PAGES[name].read_text()):
        assert command in {one.callback.__name__ for one in apps[app].registered_commands}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^ *make ([a-z-]+)", PAGES[name].read_text(), re.MULTILINE)) <= set(targets)


def test_the_tree_of_files_is_correct() -> None:
    """Every file and folder in CONTRIBUTING's tree exists, and every module of the library is in it."""
    tree = re.search(r"```text\n(\S.*?)```", PAGES["CONTRIBUTING.md"].read_text(), re.DOTALL)
    assert tree
    folders, paths = [""], set()
    for line in tree[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.split(r"\s{3,}", line.strip())[0].split():
            path = folders[depth] + name
            folders[depth + 1 :] = [path]
            paths.add(path)
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("fashion/**/*.py") if path.name != "__init__.py"}
    assert modules - paths == set()


@pytest.fixture(scope="module")
def project(checkout: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project on `digits` with two architectures and two seeds, lenet5 reported; to be copied, not changed."""
    workspace = checkout.copy(tmp_path_factory.mktemp("docs") / "project")
    workspace.keep("lenet5", "fcnn")
    workspace.small(epochs=1)
    workspace.replace("params.yaml", "seeds:\n- 0\n", "seeds:\n- 0\n- 1\n")
    workspace.run("dvc", "repro", "dvc.yaml", "models/dvc.yaml:neighbours")
    workspace.commit("two architectures on digits")
    return workspace


@pytest.mark.dvc
@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_work(project: Workspace, tmp_path: Path, name: str) -> None:
    """The commands and programs of a page, run in order, succeed."""
    workspace = project.copy(tmp_path / "project")
    text = PAGES[name].read_text().replace("s3://bucket/fashion", str(tmp_path / "remote"))
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert blocks
    for kind, block in blocks:
        for command in block.splitlines() if kind == "sh" else [block]:
            workspace.run(*(("bash", "-euc") if kind == "sh" else (sys.executable, "-c")), command)
    if "dvc queue start" in text:
        assert "Failed" not in workspace.finish_queue()


def changes() -> list[str]:
    """CONTRIBUTING's example changes, as patches."""
    return re.findall(r"```diff\n(.*?)```", PAGES["CONTRIBUTING.md"].read_text(), re.DOTALL)


def test_the_five_changes_apply() -> None:
    """Each example change can be applied to the current project."""
    for change in changes():
        subprocess.run(["git", "apply", "--check"], input=change, text=True, check=True, cwd=ROOT)
    assert len(changes()) == 5


@pytest.mark.dvc
def test_the_five_changes_work_together(checkout: Workspace, tmp_path: Path) -> None:
    """With all example changes applied, the new network trains with the new layer, augmentation and optimizer."""
    workspace = checkout.copy(tmp_path / "project")
    for number, change in enumerate(changes()):
        (tmp_path / f"{number}.patch").write_text(change)
        workspace.run("git", "apply", str(tmp_path / f"{number}.patch"))
    workspace.replace("params.yaml", "dataset: fashion_mnist", "dataset: digits")
    with modify_yaml(workspace.folder / "params.yaml") as params:
        row = params["models"]["my_net"]
        row["layers"]["relu1"] = "Hardswish"
        row["train"] = {
            "epochs": 10,
            "precision": "fp32",
            "optimizer": "radam",
            "learning_rate": 0.01,
            "augment": {"darken": 0.5},
        }
    assert "evaluate@my_net-0" in workspace.stages("repro", "models/dvc.yaml:evaluate@my_net-0")
    assert workspace.json("metrics/evaluate/my_net-0.json")["test"]["accuracy"] > 0.5
    workspace.replace("params.yaml", "dataset: digits", "dataset: shapes")
    workspace.run(sys.executable, "-m", "stages", "check")
    assert '"dataset": "shapes"' in (workspace.folder / "data/inputs/train/my_net-0.json").read_text()
