"""Fashion-MNIST itself, from the official files in data/fashion-mnist."""

from pathlib import Path

import numpy as np

from fashion.data.fetching import fetch
from fashion.data.reading import read_part
from fashion.data.splitting import split
from fashion.networks.building import build
from fashion.networks.hardware import choose
from fashion.settings.params import Params
from fashion.training.engine import begin, train


def test_two_epochs_beat_eighty_percent(params: Params, real: Path, tmp_path: Path) -> None:
    """After two epochs on a third of the images, the small CNN is right on more than 80 % of images it has not seen."""
    list(fetch("fashion_mnist", tmp_path, str(real)))
    part = read_part(tmp_path, "train")
    manifest = split(part.labels, **params.splits["subset_20k"].model_dump())
    training, validation = (part.take(np.flatnonzero(manifest["part"] == name)) for name in ("train", "validation"))
    row = params.models["cnn"]
    short = row.model_copy(update={"train": row.train.model_copy(update={"epochs": 2})})
    hardware = choose("cpu", params.gpu)
    *_, last = train(begin(build(row.layers), short, 0, hardware), training, validation)
    assert last.validation_accuracy > 0.8
