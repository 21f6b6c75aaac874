"""Stage neighbours: the training image that is most like each test image."""

from pathlib import Path

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from fashion.data.nearest import BLOCK, nearest
from fashion.data.reading import read_part
from fashion.frames import write_csv
from fashion.judging.neighbours import COLUMNS, NEAR, TABLE


def neighbours() -> None:
    """Write metrics/neighbours.csv."""
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
    typer.echo(f"{TABLE}: {(table['distance'] <= NEAR).sum():,} of {len(table):,} test images have a near-duplicate")
