"""Stage neighbours: the training image that is most like each test image, as a table and a picture."""

from pathlib import Path

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from fashion.data.reading import Part, read_part
from fashion.files import write_bytes, write_csv
from fashion.judging.neighbours import BLOCK, COLUMNS, NEAR, TABLE, nearest
from fashion.showing import charts

# Distances around which pairs are shown, and the number of pairs of each.
SHOWN, PAIRS = (10.0, 14.0, 16.0, NEAR, 20.0, 24.0), 16


def neighbours() -> None:
    """Write metrics/neighbours.csv, and docs/neighbours.png: pairs of a test and a training image by their distance."""
    train, test = (read_part(Path("data/raw"), part) for part in ("train", "test"))
    blocks = -(-len(test.images) // BLOCK)
    with tqdm(total=blocks, unit="block", disable=None, leave=False) as bar:
        other, view, sums = nearest(test.images, train.images, bar.update)
    mirrored, (down, right) = view >= 9, np.divmod(view % 9, 3)  # noqa: PLR2004 - nine moves
    table = pd.DataFrame(
        {
            "image": np.arange(len(test.labels)),
            "label": test.labels,
            "neighbour": other,
            "neighbour_label": train.labels[other],
            "mirrored": mirrored.astype(int),
            "down": down - 1,
            "right": right - 1,
            "distance": np.sqrt(sums / test.images[0].size).round(4),
        },
        columns=[*COLUMNS],
    )
    write_csv(TABLE, table)
    write_bytes(Path("docs/neighbours.png"), _picture(table, train, test))
    typer.echo(f"{TABLE}: {(table['distance'] <= NEAR).sum():,} of {len(table):,} test images have a near-duplicate")


def _picture(table: pd.DataFrame, train: Part, test: Part) -> bytes:
    """A row for each of the distances SHOWN: the pairs that come closest to it, the test image above the other."""
    rows = [(table["distance"] - distance).abs().argsort(kind="stable")[:PAIRS].sort_values() for distance in SHOWN]
    pairs = table.iloc[np.concatenate(rows)]
    images = np.concatenate([test.images[pairs["image"]], train.images[pairs["neighbour"]]], axis=1)
    # At twice their size, to be easier to see.
    shown = images.repeat(2, axis=1).repeat(2, axis=2)
    row = np.arange(len(SHOWN)).repeat(len(rows[0]))
    return charts.samples(shown, row, [f"distance {distance:g}" for distance in SHOWN], columns=PAIRS)
