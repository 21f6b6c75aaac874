"""The project's own rules: what stages depend on, which modules import which, and what commands' help contains."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.__main__ import app as benchmarks
from fashion.code.fingerprint import imports
from fashion.settings.description import Description
from stages.__main__ import app as stages
from tests.conftest import ROOT, Workspace
from tools.__main__ import app as tools

STAGES = {
    name: row
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
    """The command of `python -m stages` that a stage runs."""
    return str(STAGES[name]["cmd"].split()[3])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_code_through_check(name: str) -> None:
    """No stage lists modules; check depends on fashion/, others on their fingerprint or on a description with it."""
    deps = set(STAGES[name]["deps"])
    assert not any(path.endswith(".py") for path in deps)
    code = {"check": "fashion", "train": "data/inputs/train/${key}.json"}
    assert code.get(command(name), f"data/inputs/code/{command(name)}.txt") in deps


def test_where_a_training_runs_is_not_a_setting_of_a_stage() -> None:
    """Neither a stage nor a description has the device among its settings."""
    params = {param for row in STAGES.values() for param in flat(row.get("params", []))}
    assert not any(param.startswith("gpu") for param in params)
    assert not Description.model_fields["gpu"].annotation.model_fields.keys() & {"device"}  # type: ignore[union-attr] # a class


def test_the_report_is_the_only_metrics_file() -> None:
    """`dvc metrics` shows only the report."""
    assert [path for row in STAGES.values() for path in flat(row.get("metrics", []))] == ["metrics/report.json"]


def test_a_stage_is_a_file_and_a_command() -> None:
    """Each file in stages/ has a command and a stage of its name."""
    files = {path.stem for path in ROOT.glob("stages/*.py")} - {"__init__", "__main__"}
    assert files == {known.callback.__name__ for known in stages.registered_commands if known.callback}
    more = {f"{name}_more": name for name in ("train", "evaluate")}
    assert {name: command(name) for name in STAGES} == {name: name for name in files} | more


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """The library imports neither its callers nor Typer or DVC; only `__main__.py` files import stages and tools."""
    folder = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in imported(path)}
    if folder == "fashion":
        assert not tops & {"stages", "tools", "benchmarks", "typer", "dvc", "dvclive"}
    elif path.name != "__main__.py":
        assert not tops & {"stages", "tools"}


# Each package may import those above it; packages on one line do not import each other.
ORDER = [
    {"errors", "environment"},
    {"files", "threads"},
    {"frames"},
    {"data", "code"},
    {"settings"},
    {"networks"},
    {"training"},
    {"judging"},
    {"showing", "using"},
    {"repository"},
    {"cli"},
]


PACKAGES = [path for path in ROOT.glob("fashion/*") if path.stem not in ("__init__", "__pycache__")]


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.stem)
def test_the_packages_of_the_library_are_ordered(path: Path) -> None:
    """A package of the library imports only itself and packages before it, and every package has a place."""
    ranks = {name: rank for rank, names in enumerate(ORDER) for name in names}
    files = path.rglob("*.py") if path.is_dir() else [path]
    used = {name.split(".")[1] for file in files for name in imported(file) if name.startswith("fashion.")}
    assert {name for name in used - {path.stem} if ranks[name] >= ranks[path.stem]} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    """No function has more than 40 lines."""
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    assert [one.name for one in functions if (one.end_lineno or 0) - one.lineno >= 40] == []


def python(code: str) -> str:
    """What a new interpreter prints when it runs this code."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_imports_are_silent() -> None:
    """Importing any module prints nothing, apart from the benchmarks' peers, which are not installed here."""
    paths = [path for path in MODULES if not path.name.startswith("peer_")]
    assert python(f"import {', '.join('.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in paths)}") == ""


def test_help_loads_no_large_packages() -> None:
    """The command lines load neither torch, pandas nor matplotlib."""
    code = "import sys, benchmarks.__main__, stages.__main__, tools.__main__; print(*sys.modules)"
    assert not {"torch", "pandas", "matplotlib"} & set(python(code).split())


STARTS = """
import sys
from fashion.settings.params import Params
from stages import check
params, unused = Params.load(), {"torch._dynamo", "sympy", "scipy", "sklearn"}
for row in params.models.values():
    check.check_training(check.plan(row.layers), 2)
print({*unused, "pandas"} & {*sys.modules})
from fashion.networks.building import build, summarise
from fashion.networks.costs import flops
from fashion.networks.hardware import choose, configure
from stages import evaluate
for row in params.models.values():
    network = build(row.layers)
    flops(network), summarise(network)
configure(choose("cpu", params.gpu))
print(unused & {*sys.modules})
"""


def test_stages_load_what_they_use() -> None:
    """Checking rows and evaluating networks loads neither torch's compiler nor statistics; only the latter, pandas."""
    assert python(STARTS) == "set()\nset()\n"


@pytest.mark.parametrize("app", [benchmarks, stages, tools], ids=["benchmarks", "stages", "tools"])
def test_every_command_shows_an_example(app: Any) -> None:
    """A command's help is one sentence, followed by a command line to copy."""
    for command in app.registered_commands:
        first, *_ = command.callback.__doc__.split("\n\n")
        assert re.fullmatch(r"[A-Z][^\n]*\.", first.strip()), first
        assert "Example: " in command.callback.__doc__


def test_every_clone_has_the_same_bytes(checkout: Workspace, tmp_path: Path) -> None:
    """Git changes no line end, also for users who set core.autocrlf: DVC hashes these files, and bash runs some."""
    checkout.run("git", "clone", "--quiet", "--config", "core.autocrlf=true", ".", str(tmp_path / "clone"))
    files = checkout.run("git", "ls-files", "-z").split("\0")[:-1]
    changed = [
        name for name in files if (checkout.folder / name).read_bytes() != (tmp_path / "clone" / name).read_bytes()
    ]
    assert changed == []
