"""Near-duplicates: the nearest training image of each test image, checked against a search of every pair."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fashion.data.nearest import nearest, views
from fashion.data.reading import Part
from fashion.errors import FashionError
from fashion.frames import write_csv
from fashion.judging.neighbours import COLUMNS, NEAR, TABLE, read_near
from stages import neighbours as stage

RNG = np.random.default_rng(0)


def images(count: int) -> np.ndarray:
    """Random images, uint8 (count, 28, 28), with an empty border as in the data set."""
    return np.pad(RNG.integers(0, 256, (count, 24, 24), dtype=np.uint8), ((0, 0), (2, 2), (2, 2)))


def test_views_are_moved_and_mirrored() -> None:
    """View 0 is moved up and left, view 4 not at all, view 8 down and right, and view 13 is the mirror image."""
    image = images(1)
    found = views(torch.tensor(image))[:, 0].numpy().reshape(18, 28, 28)
    assert (found[4] == image[0]).all()
    assert (found[0][:-1, :-1] == image[0][1:, 1:]).all()
    assert (found[8][1:, 1:] == image[0][:-1, :-1]).all()
    assert (found[13] == image[0][:, ::-1]).all()


def test_the_nearest_image_is_found() -> None:
    """For images of several blocks the neighbour and its distance are those of a search through all pairs and views."""
    some, others = images(260), images(40)
    found = nearest(some, others)
    every = views(torch.tensor(some)).long().movedim(0, 1).numpy()
    flat = others.reshape(40, -1).astype(np.int64)
    for number, (other, view, total) in enumerate(zip(*found, strict=True)):
        sums = ((every[number][:, None] - flat) ** 2).sum(2)
        assert total == sums.min()
        assert (view, other) == np.unravel_index(sums.argmin(), sums.shape)


def test_the_first_of_equals_counts() -> None:
    """Of copies of the nearest image the first one counts, and of equal views the first one."""
    some, others = images(20), images(40)
    some[0] = np.maximum(some[0], some[0, :, ::-1])
    others[[7, 11, 23, 39]] = some[0]
    index, view, total = (found[0] for found in nearest(some, others))
    assert (index, view, total) == (7, 4, 0)


def test_duplicates_have_distance_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage finds a moved mirror image of a training image, and writes what was done to it."""
    monkeypatch.chdir(tmp_path)
    train = Part(images(30), np.arange(30) % 10)
    copies = np.roll(train.images[:5, :, ::-1], (1, -1), axis=(1, 2))
    test = Part(np.concatenate([copies, images(20)]), np.arange(25) % 10)
    monkeypatch.setattr(stage, "read_part", lambda _, part: {"train": train, "test": test}[part])
    stage.neighbours()
    first = TABLE.read_text().splitlines()[:6]
    # Mirrored, what was moved left must be moved left again.
    assert first == [
        "image,label,neighbour,neighbour_label,mirrored,down,right,distance",
        *(f"{number},{number},{number},{number},1,-1,-1,0.0" for number in range(5)),
    ]
    assert read_near(test.labels).tolist() == [True] * 5 + [False] * 20
    with pytest.raises(FashionError, match=r"neighbours.csv is of other test images: run dvc repro"):
        read_near(test.labels[::-1].copy())


def test_the_threshold_is_inclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distance of exactly the threshold counts as near, a larger one does not; if all count, an error says so."""
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(0, index=range(2), columns=[*COLUMNS]).assign(image=range(2), distance=[NEAR, NEAR + 0.0001])
    write_csv(TABLE, table)
    assert read_near(np.array([0, 0])).tolist() == [True, False]
    write_csv(TABLE, table[:1])
    with pytest.raises(FashionError, match=r"every test image is a near-duplicate; choose a data set"):
        read_near(np.array([0]))
