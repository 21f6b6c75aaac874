"""The project's own rules: what a stage depends on, who imports whom, what a command says of itself."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.__main__ import app as benchmarks
from fashion.networks import build, count
from fashion.params import Params
from stages.__main__ import app as stages
from tests.conftest import ROOT
from tools.__main__ import app as tools

# Imported by stages that train, and no number depends on them: what people see, how memory is kept, how to go on.
BESIDE = {f"fashion/{name}.py" for name in ("checkpoints", "lifetime", "memory", "parallel", "progress")}
STAGES = {
    name: row.get("do", row)
    for file in ("dvc.yaml", "models/dvc.yaml")
    for name, row in YAML(typ="safe").load(ROOT / file)["stages"].items()
}
MODULES = sorted(
    path for folder in ("benchmarks", "fashion", "stages", "tools") for path in ROOT.glob(f"{folder}/*.py")
)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only the type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from nodes(child)


def imported(path: Path) -> Iterator[str]:
    """The names of the modules that a file imports, inside functions too; `from a import b` may be a.b."""
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[Path]:
    """The files of the project that a file imports, packages' own files among them."""
    bases = [ROOT.joinpath(*name.split(".")) for name in imported(path)]
    return {file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}


def closure(path: Path) -> set[str]:
    """All files of the project that a file's work may depend on: what it imports, what that imports, and so on."""
    seen, new = set[Path](), {path}
    while new:
        seen |= new
        new = {file for known in new for file in ours(known) if str(file.relative_to(ROOT)) not in BESIDE} - seen
    # A file that is all docstring does nothing.
    return {str(file.relative_to(ROOT)) for file in seen if len(ast.parse(file.read_text()).body) > 1}


def flat(entries: list[Any]) -> list[str]:
    """The paths of a dvc.yaml list, with or without options."""
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(name: str) -> None:
    """The .py files among a stage's deps are its import closure: none missing, none too many."""
    assert {path for path in flat(STAGES[name]["deps"]) if path.endswith(".py")} == closure(ROOT / f"stages/{name}.py")


@pytest.mark.parametrize("name", STAGES)
def test_lists_of_a_stage_are_sorted(name: str) -> None:
    """Sorted deps, params and outs show at a glance what is there."""
    for key in ("deps", "params"):
        assert flat(STAGES[name].get(key, [])) == sorted(flat(STAGES[name].get(key, [])))


def test_where_a_training_runs_changes_no_result() -> None:
    """No stage has the device or the number of processes, or `gpu` as a whole, among its parameters."""
    params = {param for row in STAGES.values() for param in flat(row.get("params", []))}
    assert not params & {"gpu", "gpu.device", "gpu.processes"}


def test_metrics_are_the_report_alone() -> None:
    """`dvc metrics` shows one file."""
    assert [path for row in STAGES.values() for path in flat(row.get("metrics", []))] == ["metrics/report.json"]


def test_a_stage_is_a_file_and_a_command() -> None:
    """Stages, files in stages/ and commands have the same names."""
    files = {path.stem for path in ROOT.glob("stages/*.py")} - {"__init__", "__main__"}
    assert (
        set(STAGES)
        == files
        == {command.callback.__name__ for command in stages.registered_commands if command.callback}
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """The library imports neither stages nor tools nor what drives them; a stage imports no other stage."""
    folder = path.relative_to(ROOT).parts[0]
    names = set(imported(path))
    tops = {name.split(".")[0] for name in names}
    if folder == "fashion":
        assert not tops & {"stages", "tools", "typer", "dvc", "dvclive"}
    elif path.name != "__main__.py":
        assert not tops & {"stages", "tools"}


def test_the_library_has_two_levels() -> None:
    """Inside the library a module that imports others of it is imported by none."""
    imports = {
        path.stem: {file.stem for file in ours(path) if file.parent.name == "fashion"} - {"__init__"}
        for path in MODULES
        if path.parent.name == "fashion"
    }
    upper = {name for name, below in imports.items() if below}
    assert {name: below & upper for name, below in imports.items() if below & upper} == {}


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
