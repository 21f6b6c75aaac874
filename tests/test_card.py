"""python -m tools card: a model card with the figures of the metrics."""

import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fashion.networks import weights
from tests.conftest import ROOT, SEEDS, Tool, Workspace


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, checkout: Workspace) -> Workspace:
    """The project with lenet5 trained with three seeds and ranked on `digits`."""
    workspace = checkout.copy(tmp_path_factory.mktemp("evaluated") / "project")
    workspace.keep("lenet5")
    workspace.small(epochs=1)
    workspace.replace("params.yaml", "seeds:\n- 0\n", SEEDS)
    workspace.commit()
    workspace.run("dvc", "repro", "--all-pipelines")
    return workspace


@pytest.mark.dvc
def test_a_card_has_the_figures_of_the_metrics(evaluated: Workspace) -> None:
    """The metadata that hubs read and the text have the accuracy, its interval, the seeds and the recipe."""
    evaluated.run("python", "-m", "tools", "card", "lenet5")
    text = (evaluated.folder / "models/lenet5.md").read_text()
    _, head, body = text.split("---\n", 2)
    metadata = YAML(typ="safe").load(head)
    scores, row = evaluated.json("metrics/evaluate/lenet5-0.json"), evaluated.json("metrics/leaderboard.json")["lenet5"]
    (result,) = metadata["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "accuracy": scores["test"]["accuracy"],
        "f1": scores["test"]["macro_f1"],
    }
    assert metadata["license"] == "mit"
    body = body.replace("\N{NARROW NO-BREAK SPACE}", " ")
    seeds = row["seeds"]["test"]
    for value in (scores["test"]["accuracy"], *scores["test"]["interval"], row["distinct_accuracy"], seeds["mean"]):
        assert f"{value:.2%}".replace("%", " %") in body
    for text in (
        "44,426 trainable parameters",
        "Over 3 seeds, this one among them,",
        "learning rate 0.1, weight decay 0.0002, cosine schedule after a warm-up of 5 % of the steps",
        "augmentation flip true, shift 0, erase 0. Seed 0.",
        "one of ten classes:\n0, 1, 2, 3, 4, 5, 6, 7, 8, 9.",
    ):
        assert text in body
    assert re.search(r"^- Compute: .*FLOP on cpu in (bf16|fp32), torch ", body, re.MULTILINE)


@pytest.mark.dvc
def test_a_card_of_other_weights_is_refused(evaluated: Workspace, tmp_path: Path) -> None:
    """Without scores and a ranking of these very weights there is no card; the message names the stages for both.

    The report refuses weights of other code, too. A card needs no data/inputs.
    """
    workspace = evaluated.copy(tmp_path / "project")
    network = workspace.folder / "models/lenet5-0.safetensors"
    whole, (tensors, header) = network.read_bytes(), weights.read(network)
    header["description"]["code"] = "other code"
    network.write_bytes(weights.dumps(tensors, header))
    output = workspace.run("python", "-m", "stages", "report", fails=True)
    assert output == "error: the weights and the scores of lenet5-0 are of different trainings: run dvc repro.\n"
    network.write_bytes(whole)
    shutil.rmtree(workspace.folder / "data/inputs")
    workspace.run("python", "-m", "tools", "card", "lenet5")
    (workspace.folder / "models/lenet5.md").unlink(missing_ok=True)
    for file, name, other, expected in (
        ("evaluate/lenet5-0", "training", '"x"', "lenet5-0 is not evaluated: run dvc repro models/dvc.yaml:evaluate@l"),
        ("evaluate/lenet5-0", "weights", '"x"', "models/lenet5-0.safetensors is not the file that was evaluated: run"),
        ("leaderboard", "test_accuracy", "0.01", "metrics/leaderboard.json or metrics/doubtful.csv is not of the curr"),
    ):
        path = workspace.folder / f"metrics/{file}.json"
        before = path.read_text()
        path.write_text(re.sub(f'"{name}": .*', f'"{name}": {other},', before))
        output = workspace.run("python", "-m", "tools", "card", "lenet5", fails=True)
        assert output.startswith(f"error: {expected}")
        path.write_text(before)
    assert not (workspace.folder / "models/lenet5.md").exists()


def test_a_card_needs_weights(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without weights the message says how to get them."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    expected = "error: models/lenet5-0.safetensors is not here: dvc repro models/dvc.yaml:train@lenet5-0 trains it"
    assert tool("card", "lenet5")[2].startswith(expected)
