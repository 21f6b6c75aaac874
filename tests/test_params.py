"""params.yaml: what is valid, how mistakes are reported, and how -S changes it."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
from pydantic import ValidationError

from fashion.cli.advice import sentence
from fashion.errors import FashionError
from fashion.settings.params import Params
from stages.check import check
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seeds:", "sed:", "sed is not a setting: did you mean seeds?"),
        ("seeds:\n- 0\n- 1\n- 2\n", "", "seeds is missing."),
        ("- 0\n", "- zero\n", "seeds.0 is 'zero': it must be a valid integer."),
        ("- 0\n", "- true\n", "seeds.0 is True: it must be a valid integer."),
        ("model: lenet5", "model: lenet", "model names 'lenet', which does not exist: did you mean lenet5?"),
        (
            "dataset: fashion_mnist",
            "dataset: fashion",
            "must be one of fashion_mnist, mnist, kmnist, digits.",
        ),
        ("batch_size: 128", "batchsize: 128", "train.batchsize is not a setting: did you mean batch_size?"),
        ("batch_size: 128", "batch_size: 0", "train.batch_size is 0: it must be greater than 0."),
        ("optimizer: sgd", "optimizer: sgdd", "train.optimizer is 'sgdd': did you mean sgd?"),
        ("learning_rate: 0.05\n", "learning_rate: .inf\n", "train.learning_rate is inf: it must be a finite number."),
        ("  device: auto", "  device: gpu", "'gpu': it must be auto, cpu, mps, cuda or cuda:N, with N from 0 to 99."),
        ("- 0\n", f"- {2**40}\n", f"seeds.0 is {2**40}: it must be less than 2147483648."),
        ("- 0\n", f"- {2**70}\n", "seeds.0 is a whole number of 71 bits: at most 63 are allowed."),
        ("- 0\n", f"- 0x{'f' * 5000}\n", "seeds.0 is a whole number of 20000 bits: at most 63 are allowed."),
        ("- 0\n", "- 2020-01-01\n", "seeds.0 is a date: write it as a string, in quotes."),
        ("- 0\n", "- !!set {a, b}\n", "seeds.0 is a "),
        ("- 0\n", "- {[1, 2]: 2}\n", "seeds.0 has (1, 2) as a name, which must be a string."),
        ("- 0\n", "- &a [*a]\n", ", line 12, has the anchor or alias 'a': write the value in every place"),
        ("batch_size: 128", "batch_size: 60001", "train.batch_size is 60001: it must be less than or equal to 60000."),
        (
            "{epochs: 20, precision: bf16}",
            "{epochs: 1000000, precision: bf16}",
            "convnet.train.epochs is 1000000: it must be less than or",
        ),
        ("white: 2.02}", "white: -0.81}", "pixels is {'black': -0.81, 'white': -0.81}: it makes all pixels equal"),
        ("white: 2.02}", "white: 1e308}", "pixels.white is 1e+308: it must be less than or equal to 1000000."),
        ("  device: auto", "  device: cuda:256", "gpu.device is 'cuda:256': it must be auto, cpu, mps, cuda or cuda:N"),
        ("  device: auto", "  device: cuda:01", "gpu.device is 'cuda:01': it must be auto"),
        ("  device: auto", "  device: cuda:\u0661", "gpu.device is 'cuda:\u0661': it must be auto"),
        ("- 2\n", f"- {'x' * 5000}\n", "seeds.2 is 'xxx"),
        ("- 2\n", "- 0\n", "seeds is [0, 1, 0]: it has a value twice"),
        ("  lanes: 2", "  lanes: 0", "train.lanes is 0: it must be greater than or equal to 1."),
        ("  kernels: portable", "  kernels: slow", "gpu.kernels is 'slow': known: portable, fastest."),
        (
            "{epochs: 20, precision: bf16}",
            "{epochs: 0, precision: bf16}",
            "models.convnet.train.epochs is 0: it must be greater than 0.",
        ),
        ("{epochs: 20, precision: bf16}", "{precision: bf16}", "models.convnet.train.epochs is missing."),
        ("{epochs: 20, precision: bf16}", "{epochs: 20}", "models.convnet.train.precision is missing."),
        (
            "{epochs: 20, precision: bf16}",
            "{epoch: 2, precision: bf16}",
            "train.epoch is not a setting: did you mean epochs?",
        ),
        ("split: holdout_6k", "split: holdout_7k", "models.lenet5.split names 'holdout_7k'"),
        ("tanh1: Tanh", "tanh1: [Tanh]", "models.lenet5.layers.tanh1 is ['Tanh']: it must be a layer's class"),
        ("  convnet:\n    split", "  Conv-Net:\n    split", "models.Conv-Net is not a valid name: use lower-case"),
        ("  convnet:\n    split", "  5:\n    split", "models.5 is a number: put the name in quotes."),
        ("    split: holdout_6k", "    splt: holdout_6k", "models.lenet5.splt is not a setting: did you mean split?"),
        (
            "  seeds:\n  - 10\n",
            "  seeds:\n  - 2\n",
            "2 is in seeds and in more_seeds, so that one training would run twice",
        ),
        (
            "  - lenet5_published\n",
            "  - lenet_published\n",
            "more_seeds.models names 'lenet_published', which does not exist",
        ),
        ("train: 54000", "train: 54001", "splits.holdout_6k is"),
        ("validation: 6000", "validation: 4999", "splits.holdout_6k.validation is 4999: it must be greater than or"),
        ("6000, seed: 0}", "6000, seed: 1}", "splits have several seeds, and so no validation images"),
        ("{model: champion, minutes", "{model: champio, minutes", "budgets.minutes_60.model names 'champio', which"),
        ("- 0.816\n", "- 81.6\n", "lenet5_published.validation_curve.0 is 81.6: it must be less than or equal to 1."),
        ("like: fcnn", "like: fcn", "models.fcnn_published.like names 'fcn', which does not exist: did you mean fcnn?"),
        ("like: cnn", "like: fcnn_published", "models.cnn_published.like names 'fcnn_published', which itself has"),
        ("like: fcnn", "like: fcnn_published", "models.fcnn_published.like names 'fcnn_published', which itself"),
        ("like: fcnn", "like: [cnn]", "models.fcnn_published.like names ['cnn'], which does not exist: "),
        ("model: lenet5", "model: [", ", line 12, is not YAML: "),
        ("model: lenet5", "model: lenet5\nmodel: cnn", ", line 6, is not YAML: "),
        (TEXT, "", "the file is None: it must be a valid dictionary"),
        (TEXT, "models: 3\ntrain: {}\n", "model is missing."),
    ],
)
def test_a_wrong_setting_is_reported_in_one_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """One line names the key or the line, what would be right, and how to undo the change."""
    path = tmp_path / "params.yaml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises((ValidationError, FashionError)) as caught:
        Params.load(path)
    error = caught.value
    message = sentence(error) if isinstance(error, ValidationError) else str(error).replace(str(path), "params.yaml")
    assert expected in message
    assert re.fullmatch("params.yaml.* git restore params.yaml", message)
    assert message.isprintable()
    assert len(message) <= 1100


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """Without params.yaml the message says where to run the command."""
    with pytest.raises(FashionError, match="run the command in the project's root"):
        Params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("_epochs, epochs: 5}", "_epochs, epochs: 4}", "epochs_5 allows 4 epochs, and .* 5"),
        ("parameters: 10000}", "parameters: 8178}", "parameters_10k allows fewer than 8,178 parameters, and .* 8,178"),
    ],
)
def test_a_budget_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, expected: str) -> None:
    """The stage check reports an architecture that uses more than its budget."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(FashionError, match=rf"^params.yaml: budgets\.{expected}"):
        check()


def test_rows_inherit_settings(tmp_path: Path) -> None:
    """A row overrides the common recipe, or that of a row it is like, key by key; its layers replace the other's."""
    path = tmp_path / "params.yaml"
    rows = """
  one: {like: champion, train: {epochs: 2}}
  two: {like: champion, layers: {flatten: Flatten}}
  three: {split: holdout_5k, train: {epochs: 2, precision: fp32, augment: {shift: 3}}, layers: {flatten: Flatten}}
"""
    path.write_text(TEXT.replace("\nmodels:\n", f"\nmodels:{rows}", 1))
    params = Params.load(path)
    one, two, three, champion = (params.models[key].model_dump() for key in ("one", "two", "three", "champion"))
    assert one == champion | {"train": champion["train"] | {"epochs": 2}}
    assert two == champion | {"layers": {"flatten": ("Flatten", {})}}
    assert list(one["layers"]) == list(champion["layers"])
    common = params.train.model_dump()
    assert three["train"] == common | {"epochs": 2, "precision": "fp32", "augment": common["augment"] | {"shift": 3}}


def test_published_numbers_apply_only_to_fashion_mnist(params: Params) -> None:
    """On another data set there are no published numbers to compare with."""
    assert params.claims("lenet5") == {"test_accuracy": 0.883}
    assert params.claims("lenet5_1998") == {}
    other = params.model_copy(update={"data": params.data.model_copy(update={"dataset": "mnist"})})
    assert other.claims("lenet5") == {}


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("model", "alexnet"),
        ("models.lenet5.layers.conv1.Conv2d.out_channels", 8),
        ("models.champion.train.augment.erase", 4),
        ("models.fcnn_published.like", "cnn"),
        ("budgets.minutes_60.minutes", 7),
        ("train.learning_rate", 0.1),
    ],
)
def test_one_override_changes_one_line(tmp_path: Path, keys: str, value: object) -> None:
    """Setting one value, as -S model=alexnet does, changes one line of the file."""
    path, (*sections, last) = tmp_path / "params.yaml", keys.split(".")
    path.write_text(TEXT)
    with modify_yaml(path) as content:
        reduce(getitem, sections, content)[last] = value
    (changed,) = [new for old, new in zip(TEXT.splitlines(), path.read_text().splitlines(), strict=True) if old != new]
    assert f"{last}: {value}" in changed


def test_an_override_changes_one_line(tmp_path: Path) -> None:
    """What `-S` writes differs from params.yaml in the line of the setting; comments and blank lines stay."""
    (tmp_path / "params.yaml").write_text(TEXT)
    apply_overrides(tmp_path / "params.yaml", ["models.convnet.train.epochs=2"])
    assert (tmp_path / "params.yaml").read_text() == TEXT.replace(
        "{epochs: 20, precision: bf16}", "{epochs: 2, precision: bf16}"
    )
