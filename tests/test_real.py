"""Fashion-MNIST itself, from the official files in data/fashion-mnist."""

from pathlib import Path

import numpy as np

from fashion.data import read_part
from fashion.fetching import fetch
from fashion.hardware import choose
from fashion.networks import build
from fashion.params import Params
from fashion.splitting import split
from fashion.training import begin, train


def test_two_epochs_beat_eighty_percent(params: Params, real: Path, tmp_path: Path) -> None:
    """The small CNN after two epochs over a third of the images knows four of five that it never saw."""
    list(fetch("fashion_mnist", tmp_path, str(real)))
    part = read_part(tmp_path, "train")
    manifest = split(part.labels, **params.splits["subset_20k"].model_dump())
    training, validation = (part.take(np.flatnonzero(manifest["part"] == name)) for name in ("train", "validation"))
    row = params.models["cnn"]
    short = row.model_copy(update={"train": row.train.model_copy(update={"epochs": 2})})
    hardware = choose(**params.gpu.model_dump(exclude={"device", "processes"}), device="cpu")
    *_, last = train(begin(build(row.layers), short, 0, hardware), training, validation)
    assert last.validation_accuracy > 0.8
