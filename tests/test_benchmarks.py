"""The benchmarks: all contestants do the same work, and their times become tables."""

import json
import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import accuracy, gpu, pipeline, training
from benchmarks.contestants import WARMUP, Clock, plain_network
from benchmarks.processes import alone, machine
from fashion.data.fetching import fetch
from fashion.data.reading import Part, read_part
from fashion.errors import FashionError
from fashion.networks.building import build, count
from fashion.settings.params import Params
from tests.conftest import ROOT


@pytest.mark.parametrize("key", training.KEYS)
def test_the_plain_loop_trains_the_same_network(params: Params, key: str) -> None:
    """The plain loop's network has torch's own layers and gives the same outputs as the project's."""
    row, images = params.models[key], torch.rand(2, 1, 28, 28)
    plain, ours = plain_network(row).eval(), build(row.layers, row.init).eval()
    assert {type(layer).__module__.split(".")[0] for layer in plain} == {"torch"}
    assert plain[0].__class__ in (nn.Conv2d, nn.Flatten, nn.BatchNorm2d)
    torch.testing.assert_close(plain(images), ours(images))


@pytest.mark.parametrize(
    "contestant", ["plain", "expert", "engine", "engine_fp32", "engine_bf16", "data", "arithmetic"]
)
def test_every_contestant_gives_a_time(tmp_path: Path, contestant: str) -> None:
    """In a project with data, each contestant prints the milliseconds per step."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    list(fetch("digits", tmp_path / "data/raw", None))
    command = [sys.executable, "-m", "benchmarks.contestants", contestant, "lenet5", "2"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    assert float(done.stdout) > 0


PEERS = """
import json, jax, math, sys
from flax import nnx
from benchmarks import peer_jax, peer_keras
from fashion.settings.params import Params
rows = [Params.load().architecture(key) for key in sys.argv[1:]]
flax = [jax.tree.leaves(nnx.state(peer_jax.network(row), nnx.Param)) for row in rows]
keras = [peer_keras.network(row).trainable_weights for row in rows]
print(json.dumps([[sum(math.prod(weight.shape) for weight in one) for one in ones] for ones in (flax, keras)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / training.PEERS).is_file(), reason="make peers has not run")
def test_the_peers_networks_have_the_same_parameters(params: Params) -> None:
    """Every network has as many weights in Flax and in Keras as here."""
    command = [str(ROOT / training.PEERS), "-c", PEERS, *training.KEYS]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    ours = [count(build(params.models[key].layers))[0] for key in training.KEYS]
    assert json.loads(done.stdout.splitlines()[-1]) == [ours, ours]


def test_a_failed_measurement_is_reported() -> None:
    """One sentence names the measurement that failed, with the reason."""
    with pytest.raises(FashionError, match=r"^python -m benchmarks\.nothing engine failed: .*No module named"):
        alone("benchmarks.nothing", "engine", environment={})


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("lscpu"), reason="needs lscpu on x86-64 to compare with"
)
def test_the_processor_is_named() -> None:
    """Figures name the processor's model, and its family, which tells processors of one name apart."""
    printed = subprocess.run(["lscpu"], env={"LC_ALL": "C"}, check=True, capture_output=True, text=True).stdout
    told = dict(line.split(":", 1) for line in printed.splitlines() if ":" in line)
    name, family, model = (told[key].strip() for key in ("Model name", "CPU family", "Model"))
    assert machine().startswith(f"{name} (family {family}, model {model}), ")


def test_a_race_ends_when_the_target_is_reached() -> None:
    """Epochs run until one reaches the target or none is left; the best accuracy is reported in both cases."""
    epochs = iter([0.5, 0.9, 0.7])
    reached = accuracy.race(epochs, 0.9)
    assert (reached["epochs"], reached["best"], list(epochs)) == (2, 0.9, [0.7])
    missed = accuracy.race(iter([0.5, 0.9, 0.7]), 0.95)
    assert (missed["epochs"], missed["best"]) == (3, 0.9)


def test_rows_of_the_same_machine_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An architecture measured again replaces its row, and measuring on another machine discards all rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data/raw").mkdir(parents=True)
    monkeypatch.setattr(training, "machine", lambda: "A box")
    for value, keys in ((1.0, ["lenet5", "cnn"]), (2.0, ["lenet5"])):
        monkeypatch.setattr(training, "alone", partial(lambda value, *_, **__: value, value))
        training.training(keys, 2, busy=False, output=Path("figures.json"))
    rows = json.loads(Path("figures.json").read_text())["milliseconds"]
    assert {key: times["quiet"]["engine"] for key, times in rows.items()} == {"lenet5": [2.0, 2.0], "cnn": [1.0, 1.0]}
    monkeypatch.setattr(training, "machine", lambda: "Another box")
    training.training(["cnn"], 2, busy=False, output=Path("figures.json"))
    assert "| engine | 2 (2 to 2) |" in capsys.readouterr().out
    assert list(json.loads(Path("figures.json").read_text())["milliseconds"]) == ["cnn"]


def test_times_are_shown_relative_to_the_engine() -> None:
    """A cell shows the median, the range, and the median as a multiple of the engine's."""
    times = {"plain loop": [900.0, 1000.4, 1100.0], "engine": [250.1, 240.0, 260.0], "data work": [0.25, 0.2501, 0.3]}
    figures = {
        "machine": "A box",
        "versions": {"jax": "1.0"},
        "rounds": 3,
        "milliseconds": {"lenet5": {"quiet": times}},
    }
    assert training.table(figures) == (
        "|  | `lenet5` |\n"
        "|---|---|\n"
        "| plain loop | 1000 (900 to 1100), **4.00x** |\n"
        "| engine | 250 (240 to 260) |\n"
        "| data work | 0.25 (0.25 to 0.3), **0.00x** |\n"
        "\n"
        "Milliseconds per step: median (least to most) of 3 interleaved rounds; bold, as a multiple of the engine's. "
        "The engine's machine: A box; the peers: jax 1.0."
    )


def test_busy_times_are_also_shown_relative_to_quiet_ones() -> None:
    """The second table has multiples of the engine's and of the quiet median; the page has each column's fastest."""
    quiet, busy = ({"plain loop": [10.0 * by], "engine": [2.0 * by]} for by in (1, 1.5))
    rows = {"lenet5": {"quiet": quiet, "busy": busy}, "cnn": {"quiet": quiet}}
    figures = {"machine": "A box (family 1, model 2), 2 cores", "versions": {}, "rounds": 1, "milliseconds": rows}
    text = training.table(figures)
    assert text.splitlines()[-6:-2] == [
        "|  | `lenet5` |",
        "|---|---|",
        "| plain loop | 15, **5.00x**, *1.5x* |",
        "| engine | 3, *1.5x* |",
    ]
    quiet |= {"JAX": [1.5], "JAX with oneDNN": [1.0]}
    assert training.page([figures]).splitlines()[2:] == [
        "| A box (family 1, model 2) | `lenet5` | 2 | 5.00 |  |  |  |  | **0.50** |  |  |",
        "| A box (family 1, model 2) | `cnn` | 2 | 5.00 |  |  |  |  | **0.50** |  |  |",
        "| A box (family 1, model 2), busy | `lenet5` | 3 | 5.00 |  |  |  |  |  |  |  |",
        "",
        "A box (family 1, model 2), 2 cores: one measurement of each. Next to the busy process, steps take longer: "
        "engine 1.5 to 1.5 times, plain loop 1.5 to 1.5 times.",
    ]


@pytest.mark.parametrize(
    ("ours", "published", "expected"),
    [
        (0.91, 0.91, "20 s (3 epochs) | 10 s (3 epochs), **2.0x** | 4 s (3 epochs), **5.0x** |"),
        (
            0.91,
            0.89,
            "20 s (3 epochs, not reached: best 89.00 %) | 10 s (3 epochs), **at least 2.0x** | 4 s (3 epochs), ",
        ),
        (0.89, 0.91, "20 s (3 epochs) | 10 s (3 epochs, not reached: best 89.00 %) | 4 s (3 epochs), **5.0x** |"),
    ],
)
def test_seconds_to_an_accuracy_become_a_ratio(ours: float, published: float, expected: str) -> None:
    """A run that missed the accuracy shows its best one, and there is a ratio only if our run reached the accuracy."""
    runs = {
        "published": {"target": 0.9, "seconds": 20.0, "epochs": 3, "best": published},
        "ours": {"target": 0.9, "seconds": 10.0, "epochs": 3, "best": ours},
        "fast": {"target": 0.9, "seconds": 4.0, "epochs": 3, "best": 0.9},
    }
    table = accuracy.table({"machine": "A box", "runs": {"cnn": runs}}).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert f"| `cnn` | 90.00 % | {expected}" in table


def test_an_architecture_without_a_fast_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the benchmark cannot time ends it before the first training."""
    monkeypatch.setattr(accuracy, "need", lambda *_: None)
    with pytest.raises(FashionError, match=r"^fcn has no recipe made for speed: did you mean fcnn\?$"):
        accuracy.accuracy(["fcn"], Path("none.json"))


@pytest.mark.parametrize("key", accuracy.FAST)
def test_a_recipe_made_for_speed_is_a_valid_one(params: Params, key: str) -> None:
    """Its changes are settings of a row, with values that params.yaml could state."""
    recipe = params.models[key].train
    changed = recipe.model_copy(update=accuracy.FAST[key])
    assert type(recipe).model_validate(changed.model_dump()) == changed
    assert changed != recipe


def test_a_clock_measures_the_mean_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock ignores the warm-up steps and returns the mean of all others."""
    times = iter([100.0, 107.0, 110.0, 110.5, 111.5, 112.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock(3)
    for _ in range(WARMUP + 3):
        clock.tick()
    assert clock.milliseconds() == pytest.approx(2000 / 3)


def test_seconds_of_the_pipeline_are_shown_with_their_spread() -> None:
    """A single measurement is shown as it is, several as their median and range."""
    text = pipeline.table({"machine": "A box", "seconds": {"all": [90.0], "nothing": [1.0, 3.0, 2.0]}})
    assert text == "all: 90.00 s; nothing: 2.00 s (1.00 to 3.00). A box."


def test_a_missing_gpu_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CUDA the command ends with a sentence, and writes nothing."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FashionError, match=r"has no CUDA GPU: run the command on a machine that has one\.$"):
        gpu.gpu(1, 1, tmp_path / "gpu.json")
    assert not list(tmp_path.iterdir())


def test_a_gpu_benchmark_keeps_what_it_has(tmp_path: Path) -> None:
    """Figures are written after each measurement; failures and what is late are listed, and the next ones still run."""
    output = tmp_path / "gpu.json"
    figures: dict[str, Any] = {"missing": [], "steps": {}, "trainings": {}, "races": {}}

    def late(end: float) -> None:
        assert end == float("inf")
        raise gpu.Late

    def broken(_: float) -> None:
        raise RuntimeError("no kernel\nimage")

    def last(_: float) -> float:
        before = json.loads(output.read_text())
        assert (before["missing"], before["errors"]) == (["races a 0"], {"steps a eager": "no kernel"})
        return 2.0

    todo = [
        gpu.Item("races", ("a", "0"), late),
        gpu.Item("steps", ("a", "eager"), broken),
        gpu.Item("steps", ("a", "graph"), last),
    ]
    gpu.run_all(iter(todo), float("inf"), figures, output)
    assert json.loads(output.read_text())["steps"] == {"a": {"graph": 2.0}}


def test_a_gpu_benchmark_measures_and_shows(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On `digits` and a CPU, each kind of measurement gives figures, and each figure has its place in a table."""
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "TARGETS", (0.01, 1.01))
    monkeypatch.setattr(gpu, "MOST", 1)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    list(fetch("digits", tmp_path, None))
    row = params.models["lenet5"]
    row = row.model_copy(update={"train": row.train.model_copy(update={"epochs": 2})})
    small = params.model_copy(update={"models": params.models | {"lenet5": row}})
    images = gpu.Images(tmp_path, small, read_part(tmp_path, "train"), read_part(tmp_path, "test"))
    figures = {
        "machine": "A box",
        "missing": ["races cnn 0"],
        "steps": {"lenet5": {form: gpu.measured("lenet5", form, images, 0.0) for form in ("graph", "expert's loop")}},
        "trainings": {"lenet5": gpu.trained("lenet5", images, float("inf"))},
        "races": {"lenet5": {"0": gpu.raced("lenet5", 0, images, float("inf"))}},
    }
    assert torch.are_deterministic_algorithms_enabled()
    text = gpu.tables(figures)
    assert text.count("| `lenet5` |") == 3
    assert "(1 epochs, test " in text
    assert text.endswith("Not measured, for lack of time: races cnn 0.\n\nA box.")
    assert "times as long as the graph, for all 1 networks measured. A box." in gpu.page(figures)
    with pytest.raises(gpu.Late):
        gpu.trained("lenet5", images, 0.0)


def test_every_published_architecture_is_trained_on_a_gpu(params: Params, tmp_path: Path) -> None:
    """Each architecture's step is measured, each published one is trained, and the published recipes come last."""
    part = Part(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
    todo = list(gpu.items(params, gpu.Images(tmp_path, params, part, part), 2))
    trainings = [item.names[0] for item in todo if item.section == "trainings"]
    late = [key for key in params.models if key.endswith("_published")]
    assert sorted(trainings[: -len(late)]) == sorted(params.published.keys() - set(late))
    assert trainings[-len(late) :] == late
    assert {item.names[0] for item in todo if item.section == "steps"} == params.models.keys() - set(late)
    assert [item.names for item in todo if item.section == "races"][-1] == ("champion", "1")
