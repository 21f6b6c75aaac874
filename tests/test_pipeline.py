"""The project's own rules: what a stage depends on, who imports whom, what a command says of itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.__main__ import app as benchmarks
from fashion.description import Description
from fashion.fingerprint import closure, imports
from fashion.networks import build, count
from fashion.params import Params
from stages.__main__ import app as stages
from tests.conftest import ROOT
from tools.__main__ import app as tools

STAGES = {
    name: row.get("do", row)
    for file in ("dvc.yaml", "models/dvc.yaml")
    for name, row in YAML(typ="safe").load(ROOT / file)["stages"].items()
}
MODULES = sorted(
    path for folder in ("benchmarks", "fashion", "stages", "tools") for path in ROOT.glob(f"{folder}/**/*.py")
)


def imported(path: Path) -> set[str]:
    """The names of the modules that a file imports, inside functions too."""
    return set(imports(ast.parse(path.read_text())))


def flat(entries: list[Any]) -> list[str]:
    """The paths of a dvc.yaml list, with or without options."""
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def command(name: str) -> str:
    """The command of python -m stages that a stage runs."""
    return str(STAGES[name]["cmd"].split()[3])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_code_through_check(name: str) -> None:
    """No stage but check lists modules; each depends on the fingerprint of its command, or on a description with it."""
    deps = set(STAGES[name]["deps"])
    assert not any(path.endswith(".py") for path in deps)
    code = {"check": "fashion", "train": "data/inputs/train/${key}.json"}
    assert code.get(command(name), f"data/inputs/code/{command(name)}.txt") in deps


@pytest.mark.parametrize("name", STAGES)
def test_lists_of_a_stage_are_sorted(name: str) -> None:
    """Sorted deps, params and outs show at a glance what is there."""
    for key in ("deps", "params"):
        assert flat(STAGES[name].get(key, [])) == sorted(flat(STAGES[name].get(key, [])))


def test_where_a_training_runs_changes_no_result() -> None:
    """Neither a stage nor a description has the device or the number of processes among its settings."""
    params = {param for row in STAGES.values() for param in flat(row.get("params", []))}
    assert not any(param.startswith("gpu") for param in params)
    assert not Description.model_fields["gpu"].annotation.model_fields.keys() & {"device", "processes"}  # type: ignore[union-attr] # a class


def test_metrics_are_the_report_alone() -> None:
    """`dvc metrics` shows one file."""
    assert [path for row in STAGES.values() for path in flat(row.get("metrics", []))] == ["metrics/report.json"]


def test_a_stage_is_a_file_and_a_command() -> None:
    """Files in stages/ and commands have the names of the stages; a repeat runs the commands of a first training."""
    files = {path.stem for path in ROOT.glob("stages/*.py")} - {"__init__", "__main__"}
    assert files == {command.callback.__name__ for command in stages.registered_commands if command.callback}
    assert {name: command(name) for name in STAGES} == {
        **{name: name for name in files},
        "repeat": "train",
        "evaluate_repeat": "evaluate",
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """The library imports neither stages nor tools nor what drives them; a stage imports no other stage."""
    folder = path.relative_to(ROOT).parts[0]
    names = imported(path)
    tops = {name.split(".")[0] for name in names}
    if folder == "fashion":
        assert not tops & {"stages", "tools", "typer", "dvc", "dvclive"}
    elif path.name != "__main__.py":
        assert not tops & {"stages", "tools"}


def test_the_library_has_levels() -> None:
    """No import inside the library goes round in a circle, and nothing but `running` itself imports `running`."""
    graph = {
        path: {file for file in closure(path) if file != path}
        for path in MODULES
        if path.is_relative_to(ROOT / "fashion") and path.name != "__init__.py"
    }
    assert [path for path, below in graph.items() if any(path in graph.get(file, ()) for file in below)] == []
    assert [path for path in graph if path.parent.name != "running" and "fashion.running" in imported(path)] == []


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_imports_are_silent_and_light() -> None:
    """Importing any module prints nothing; charts, scores and the command lines bring no torch with them."""
    light = python(
        "import sys, fashion.charts, fashion.scores, stages.__main__, tools.__main__; sys.exit('torch' in sys.modules)"
    )
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES]
    assert light == python(f"import {', '.join(names)}") == ""


@pytest.mark.parametrize("app", [benchmarks, stages, tools], ids=["benchmarks", "stages", "tools"])
def test_every_command_shows_an_example(app: Any) -> None:
    """A command's help is one sentence, and below it a command line to copy."""
    for command in app.registered_commands:
        first, *_ = command.callback.__doc__.split("\n\n")
        assert re.fullmatch(r"[A-Z][^\n]*\.", first.strip()), first
        assert "Example: " in command.callback.__doc__


def test_the_readmes_table_of_architectures_is_true(params: Params) -> None:
    """README's table has each architecture's parameters, split, published accuracies and epochs as the settings do."""
    cells = r"^\| `(\w+)` \| ([\d,]+) \| `(\w+)` \| (.*?) \| (\d+) \|"
    rows = re.findall(cells, (ROOT / "README.md").read_text(), re.MULTILINE)
    expected = []
    for key, row in params.models.items():
        claims = params.claims(key).items()
        published = ", ".join(f"{name.removesuffix('_accuracy')} {value:.2%}" for name, value in claims)
        parameters, _ = count(build(row.layers))
        expected.append((key, f"{parameters:,}", row.split, published.replace("%", " %"), str(row.train.epochs)))
    assert rows == expected


def test_the_readmes_tree_is_true() -> None:
    """Every file and folder in README's tree exists, and every source file stands in it."""
    readme = (ROOT / "README.md").read_text()
    tree = re.search(r"```text\n(\S.*?)```", readme, re.DOTALL)
    assert tree
    paths, folder = set(), ""
    for line in tree[1].splitlines():
        for name in re.split(r"\s{3,}", line.strip())[0].split():
            folder = name if not line.startswith(" ") and name.endswith("/") else folder
            paths.add(name if not line.startswith(" ") else folder + name)
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    unlisted = {str(path.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py"} - paths
    assert unlisted == set()


def test_the_readmes_architecture_works(tmp_path: Path) -> None:
    """README's example of a new architecture, pasted below the others, is a network that the settings take."""
    readme, settings = (ROOT / "README.md").read_text(), (ROOT / "params.yaml").read_text()
    example = re.search(r"```yaml\n(  my_net:.*?)```", readme, re.DOTALL)
    assert example
    path = tmp_path / "params.yaml"
    path.write_text(settings.replace("\nmodels:\n", f"\nmodels:\n\n{example[1]}", 1))
    assert count(build(Params.load(path).architecture("my_net").layers))[0] == 32 * (9 + 1) + (32 * 13 * 13 + 1) * 10
