"""Run `python -m stages` in other folders, each command in a fork of one process that has loaded the libraries.

A command then starts in a fraction of a second instead of six. No code of this project is loaded before the fork, so
that a command runs the code of its folder. Standard input has a line of JSON for each command: the folder, a file for
its output, and its words. The answer is a line with its exit code.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

# What the stages import, directly or by using torch and scikit-learn.
LIBRARIES = (
    "dvc.repo",
    "dvclive",
    "filelock",
    "jinja2",
    "joblib",
    "matplotlib.pyplot",
    "pydantic",
    "rich.console",
    "ruamel.yaml",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.metrics",
    "sklearn.model_selection",
    "torch._dynamo",
    "torch.utils.flop_counter",
    "typer",
)


def main() -> None:
    """Run one command after the other, until standard input ends."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        folder, file, words = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_ended(folder, file, words))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def _ended(folder: str, file: str, words: list[str]) -> int:
    """Run `python -m stages WORDS` in that folder, with the file as output; its exit code.

    The process then ends without Python's own clean-up, which takes twice as long as a small network's training.
    """
    os.chdir(folder)
    with Path(file).open("w") as output, Path(os.devnull).open() as nothing:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.dup2(nothing.fileno(), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - this process has begun to read the other one
    sys.path.insert(0, folder)
    sys.argv = ["stages", *words]
    try:
        runpy.run_module("stages", run_name="__main__", alter_sys=True)
        code: object = None
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as Python does
        code = traceback.format_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201 - as Python does
    sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    main()
