"""Damage a file that a stage or a tool reads, and run it: python -m tests.campaigns.files [COUNT] [SEED].

Each run ends well or reports the damage in one sentence. Any other end is a finding: a traceback, a crash, a hang, a
temporary file left, or a changed file that the command does not write. COUNT: the runs of each command.
"""

import json
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dvc.utils.serialize import modify_yaml
from PIL import Image

from fashion.environment import MEMORY
from tests.campaigns.settings import VALUES, change_node
from tests.conftest import Workspace, project

KEY = "lenet5"
COMMANDS = [
    *(["stages", name] for name in ("check", "download", "samples", "split", "report")),
    *(["stages", name] for name in ("neighbours", "leaderboard", "results")),
    *(["stages", name, f"{KEY}-0"] for name in ("train", "evaluate")),
    ["tools", "models", KEY],
    ["tools", "predict", "photos", "--save", "seen"],
    ["tools", "score", f"models/{KEY}-0.safetensors", "--model", KEY],
    ["tools", "export", KEY, "--output", "exported/lenet5.onnx"],
    ["tools", "card", KEY],
    ["tools", "compare", f"metrics/predictions/{KEY}-0.csv", "--page", "compared/page.html"],
    ["tools", "diff"],
    ["tools", "verify", KEY, "--epochs", "1"],
    ["tools", "ablation", KEY, "--seeds", "6"],
]
# Seconds for one run. The longest, the ablation's twelve trainings, takes two minutes.
LIMIT = 600
# What a run may open and its user does not write: code, git's files, DVC's, Python's caches.
NOT_DATA = re.compile(r"(\.git|\.dvc|\.checkpoints|fashion|stages|tools|tests|benchmarks)/|.*\.pyc?$")
# Names that a file manager, an editor or a stranger may leave beside a file.
STRANGE = ["a b{}", "\udcff{}", "a\nb{}", ".a{}", "a{}~", "-{}", "e\u0301{}", "a{}.d"]
Files = dict[str, bytes]


def damaged(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """A file's content with a random mistake."""
    text = content.decode(errors="surrogateescape")
    match rng.randrange(9):
        case 0:
            return rng.choice([b"", b"\0", b"\xff\xfe", b"{}", b"[]", b"null", b"NaN", b"\n" * 1000, b"[" * 100_000])
        case 1 | 2:
            return rng.choice(others)
        case 3 | 4 | 5 if text.startswith("{"):
            return _changed_json(rng, text)
        case 3 | 4 | 5 if "," in text.split("\n", 1)[0] or "\t" in text.split("\n", 1)[0]:
            return _changed_cell(rng, text)
        case 6:
            return content + content[: rng.choice([1, 100, len(content)])]
        case _:
            start, length = rng.randrange(len(content) + 1), rng.choice([0, 1, 8, 100, len(content)])
            return content[:start] + rng.randbytes(rng.choice([0, 1, 8])) + content[start + length :]


def _changed_json(rng: random.Random, text: str) -> bytes:
    content = json.loads(text)
    change_node(rng, content)
    try:
        return json.dumps(content).encode(errors="surrogatepass")
    except (TypeError, ValueError):
        return text.replace(":", "", 1).encode()


def _changed_cell(rng: random.Random, text: str) -> bytes:
    separator = "\t" if "\t" in text.split("\n", 1)[0] else ","
    lines = text.splitlines()
    # The header, or any row.
    number = rng.choice([0, rng.randrange(len(lines))])
    cells = lines[number].split(separator)
    place = rng.randrange(len(cells))
    cells[place : place + 1] = rng.choice([[], [str(rng.choice(VALUES))], [cells[place]] * 2])
    lines[number] = separator.join(cells)
    return "\n".join(lines).encode(errors="surrogatepass")


def mistake(rng: random.Random, path: Path, files: Files) -> str:
    """Damage a file, put something else in its place, or put something beside it; say what was done."""
    kind = rng.choice(["content"] * 12 + ["missing", "folder", "loop", "device", "beside"])
    content = path.read_bytes()
    if kind == "beside":
        name = rng.choice(STRANGE).format(path.suffix)
        path.with_name(name).write_bytes(damaged(rng, content, [*files.values()]))
        return f"{name!r} beside"
    path.unlink()
    match kind:
        case "content":
            path.write_bytes(damaged(rng, content, [*files.values()]))
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "device":
            path.symlink_to(os.devnull)
    return kind


def prepared(folder: Path) -> Workspace:
    """A project on `digits` in which everything has run, with pictures to predict; all of it committed."""
    workspace = project(folder)
    workspace.keep(KEY, "cnn")
    workspace.small(epochs=2)
    # One ingredient is left: each other one would be at least seven trainings more.
    with modify_yaml(workspace.folder / "params.yaml") as params:
        params["models"][KEY]["train"] |= {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0}
    for kind in ("png", "jpg", "tiff", "gif"):
        path = workspace.folder / f"photos/{kind}.{kind}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.pad(np.arange(100, 200, dtype=np.uint8).reshape(10, 10), 5)).save(path)
    workspace.run("dvc", "repro", "--all-pipelines")
    workspace.commit()
    # A change of the settings, so that `diff` has figures to compare.
    workspace.epochs(KEY, 3)
    workspace.run("dvc", "repro", "--all-pipelines")
    workspace.commit()
    return workspace


def snapshot(folder: Path) -> Files:
    """Every file outside git's and DVC's folders."""
    paths = (path for path in folder.rglob("*") if not re.match(r"(\.git|\.dvc)/", str(path.relative_to(folder))))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def restore(folder: Path, files: Files) -> None:
    """Bring the folder back to those files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = str(path.relative_to(folder))
        if re.match(r"(\.git|\.dvc)(/|$)", name) or (path.is_dir() and not path.is_symlink() and _holds(files, name)):
            continue
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path.is_symlink() or files.get(name) != path.read_bytes():
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _holds(files: Files, folder: str) -> bool:
    return any(name.startswith(f"{folder}/") for name in files)


def child(command: list[str], folder: Path, opened: Path | None) -> None:
    """Run a command in this process as `python -m` does; with `opened`, list there what it opens."""
    os.chdir(folder)
    if opened:
        file = opened.open("a", buffering=1)

        def note(event: str, arguments: tuple[Any, ...]) -> None:
            path, mode = arguments[:2] if event == "open" else (arguments[1], "w") if event == "os.rename" else (0, 0)
            if isinstance(path, str | Path):
                kind = "writes" if str(mode).startswith(("w", "a", "x")) else "reads"
                file.write(f"{kind} {os.path.relpath(path, folder)}\n")

        sys.addaudithook(note)
    sys.argv = sys.orig_argv = [*command]
    for program in ("stages", "tools"):
        sys.modules.pop(f"{program}.__main__", None)
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
        code = 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(command: list[str], folder: Path, log: Path, opened: Path | None = None) -> int | None:
    """Run a command in a copy of this process, which has imported all packages; its exit code, or None if it hangs."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        with log.open("wb", buffering=0) as file, Path(os.devnull).open("rb") as nothing:
            for number, target in ((0, nothing), (1, file), (2, file)):
                os.dup2(target.fileno(), number)
            child(command, folder, opened)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def judged(code: int | None, output: str) -> str:
    """How a run ended: accepted, reported, or what is wrong with it."""
    lines = [line for line in output.splitlines() if not line.startswith("warning: ")]
    errors = [line for line in lines if line.startswith("error: ") and line.isprintable()]
    # `predict` lists the files that it cannot read or write, and `verify` prints what differs.
    listed = re.search("could not be read|cannot be written|differ", output)
    reported = (errors and errors == lines[-1:]) or listed
    if code is None or code < 0:
        return "hang" if code is None else f"crash by signal {-code}"
    if "Traceback" in output:
        places = re.findall(r'File ".*/(\w+/\w+\.py)", line (\d+)', output)
        return f"traceback: {lines[-1][:200]} in {':'.join(places[-1]) if places else '?'}"
    if "Warning" in output:
        return f"warning: {next(line for line in lines if 'Warning' in line)}"
    if code:
        return "reported" if reported else f"not one sentence: {lines[-3:]}"
    return "accepted"


def changes(before: Files, after: Files, written: set[str]) -> str:
    """The temporary files that a run left, and what it changed outside the folders of its output; empty if nothing."""
    differ = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    allowed = tuple(f"{folder}/" for folder in [*written, ".checkpoints"])
    strange = [name for name in differ if name.endswith(".tmp") or not name.startswith(allowed)]
    return f"changed {sorted(strange)}" if strange else ""


def campaign(workspace: Workspace, folder: Path, count: int, seed: int) -> Counter[str]:
    """Run each command that many times, each time with one mistake in a file that it reads."""
    place, log, opened = workspace.folder, folder / "log", folder / "opened"
    files, ends = snapshot(place), Counter[str]()
    for command in COMMANDS:
        opened.write_text("")
        assert run(command, place, log, opened) == 0, log.read_text()
        accesses = [line.split(" ", 1) for line in opened.read_text().splitlines()]
        read = {name for kind, name in accesses if kind == "reads" and name in files and not NOT_DATA.match(name)}
        written = {str(Path(name).parent) for kind, name in accesses if kind == "writes"} - {"."}
        restore(place, files)
        own = Counter[str]()
        for number in range(count):
            rng = random.Random(f"{seed} {command} {number}")  # noqa: S311 - no secret
            name = rng.choice(sorted(read))
            what = mistake(rng, place / name, files)
            before = snapshot(place)
            # `diff` also reads the last commit: there the file is damaged, and here it is not.
            committed = command[1] == "diff" and rng.random() < 0.5
            if committed:
                workspace.run("git", "add", "--all")
                workspace.run("git", "commit", "--quiet", "--allow-empty", "--message", "damage")
                restore(place, files)
                before = files
            end = judged(run(command, place, log), log.read_text(errors="replace"))
            end = changes(before, snapshot(place), written) or end
            own[end if end in ("accepted", "reported") else "finding"] += 1
            if end not in ("accepted", "reported"):
                where = f"seed {seed}, {' '.join(command)}, number {number}: {name}, {what}"
                print(f"{where}: {end}", flush=True)  # noqa: T201 - to repeat it
            if committed:
                workspace.run("git", "reset", "--quiet", "HEAD~1")
            restore(place, files)
        print(f"{' '.join(command)}: {len(read)} files, {dict(own)}", flush=True)  # noqa: T201 - progress
        ends += own
    return ends


def main(count: int, seed: int, here: bool) -> int:
    """Prepare a project, and run this command there: the campaign runs that project's code. Return the exit code."""
    with TemporaryDirectory() as temporary:
        if here:
            ends = campaign(Workspace(Path.cwd()), Path(temporary), count, seed)
            print(dict(ends))  # noqa: T201 - the result
            return int(bool(ends["finding"]))
        workspace = prepared(Path(temporary, "project"))
        command = [sys.executable, "-m", "tests.campaigns.files", str(count), str(seed), "here"]
        # DVC_STAGE as in a stage that DVC starts; with MEMORY no command restarts its process.
        own = MEMORY | {"DVC_STAGE": "campaign", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, cwd=workspace.folder, env=workspace.environment | own, check=False).returncode


if __name__ == "__main__":
    words = [*sys.argv[1:], *("200", "0")[len(sys.argv[1:]) :]]
    sys.exit(main(int(words[0]), int(words[1]), "here" in words))
