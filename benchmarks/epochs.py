"""Seconds of one epoch of each architecture with its own recipe, from which the time of a training follows."""

import json
import sys
import time
from pathlib import Path

import typer
from tqdm import tqdm

from benchmarks.contestants import hardware
from benchmarks.measuring import RAW
from benchmarks.processes import alone, continued, machine, need, ours
from fashion.data.reading import read_part, read_split
from fashion.files import write_json
from fashion.networks.building import build
from fashion.settings.params import Params
from fashion.training.engine import begin, train


def epochs(keys: list[str] | None, output: Path) -> None:
    """Measure, write the figures and print them as a table."""
    params = Params.load()
    chosen = keys or list(params.models)
    for key in chosen:
        params.architecture(key)
        need(Path(f"data/splits/{key}.csv"), "split")
    figures = continued(output, {"machine": machine(), "seconds": {}}, "seconds")
    for key in tqdm(chosen, unit="architecture", disable=None, leave=False):
        figures["seconds"][key] = alone("benchmarks.epochs", key, environment=ours(key))
        write_json(output, figures)
    typer.echo("\n".join(f"{key}: {seconds:.1f} s" for key, seconds in figures["seconds"].items()))


def one(key: str) -> float:
    """The seconds of an epoch, validation included; its first steps are a little slower than those of later epochs."""
    params = Params.load()
    row = params.architecture(key)
    parts = read_split(Path(f"data/splits/{key}.csv"), read_part(RAW, "train"))
    run = begin(build(row.layers, row.init, params.seeds[0]), row, params.seeds[0], hardware(row.train.precision))
    started = time.perf_counter()
    next(train(run, *parts))
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1])))  # noqa: T201 - for the parent process
