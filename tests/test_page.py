"""Pages: complete in one file, with the right numbers, and readable on a phone."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fashion.settings.description import Split
from fashion.settings.params import MoreSeeds
from fashion.showing.pages import percent, render, short
from tests.conftest import ROOT

PYTHON = ROOT / ".venv-slow/bin/python"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((short(number), text) for number, text in ((0, "0"), (999, "999"), (999.6, "1 k"), (44_426, "44.4 k"))),
        *((short(number), text) for number, text in ((2_317_572_000_000, "2.32 T"), (10**22, "1e+04 E"))),
        *((percent(0.89321), "89.32 %"), (percent(0.5, 1), "50.0 %")),
    ],
)
def test_numbers_are_short(text: str, expected: str) -> None:
    """A large number has three digits and a unit prefix, a percentage the requested number of decimal places."""
    assert text == expected.replace(" ", "\N{NARROW NO-BREAK SPACE}")


PARTS = ("validation", "test")


def row(key: str, accuracy: float, **published: float) -> dict[str, Any]:
    """A row of the leaderboard."""
    seeds = {"seeds": 5, "mean": accuracy, "interval": [0.9, 0.95], "deviation": 0.001, "p": 0.0001}
    alone = {"seeds": 1, "mean": accuracy, "interval": None, "deviation": None, "p": None}
    return {
        "model": key,
        "parameters": 44_426,
        "training_flops": 2_317_572_000_000,
        "test_accuracy": accuracy + 0.001,
        "test_interval": [accuracy - 0.006, accuracy + 0.006],
        "validation_accuracy": accuracy,
        "published": published,
        "level_with": ["b", "c"] if published else [],
        "distinct_accuracy": accuracy - 0.01,
        "clear_accuracy": accuracy + 0.01,
        "judge": bool(published),
        "seeds": {"validation": seeds, "test": seeds | {"p": 0.2}} if published else dict.fromkeys(PARTS, alone),
    }


# What a leaderboard shows in addition to its rows.
BOARD: dict[str, Any] = {"dataset": "digits", "images": 360, "doubts": 7, "level": 0.05}
BOARD |= dict.fromkeys(("left_out", "trained_on", "ranking", "by_size", "by_cost"), "")


def test_the_leaderboard_shows_each_architecture() -> None:
    """The page shows names, accuracies, published numbers, seeds and ties, if there are any, and escapes names."""
    rows = [row("<b>", 0.9012), row("cnn", 0.9336, test_accuracy=0.9166)]
    page = render("leaderboard.html", rows=rows, **BOARD)
    cells = [re.sub(r"<.*?>|\s", "", cell) for cell in re.findall(r"<td.*?</td>", page)]
    none = "&lt;b&gt;|44,426|90.12%|||90.12%||90.22%|89.52%to90.72%|89.12%|91.12%"
    full = "cnn|44,426|93.36%±0.10(5)|90.00%to95.00%|91.66%|93.36%±0.10(5)||93.46%|92.76%to93.96%|92.36%|94.36%*"
    assert cells == [*none.split("|"), *full.split("|"), "cnn", "b,c"]
    page = render("leaderboard.html", rows=rows[:1], **BOARD)
    assert "published numbers" not in page
    assert "All pairs differ significantly." in page
    assert page.count("<table>") == 1


def test_results_are_shown_next_to_published_ones() -> None:
    """Each published figure has a row with its difference, and verdicts are said with their intervals."""
    rows = {
        "cnn": row("cnn", 0.9336, validation_accuracy=0.93, test_accuracy=0.9166),
        "cnn_published": row("cnn_published", 0.9203, test_accuracy=0.9166),
        "fcnn_published": row("fcnn_published", 0.8945, test_accuracy=0.9056),
        "lenet5_1998": row("lenet5_1998", 0.8838),
        "wide_dense": row("wide_dense", 0.9, train_accuracy=0.98),
        "champion_small": row("champion_small", 0.951),
    }
    means = (("", 0.93), ("warmup", 0.925))
    found = [
        {"without": name, "mean": mean, "deviation": 0.001, "interval": [-0.006, 0.001] if name else None, "p": 0.03125}
        for name, mean in means
    ]
    neighbours = [{"limit": 18.0, "near": 600, "differ": 12, "bound": 0.9988}]
    kinds = [{"truth": "Shirt", "prediction": "Coat", "images": 7}]
    missed = {"images": 10_000, "missed": 9, "unanimous": 8, "expected": 0.5, "vote": 0.94, "kinds": kinds}
    content: dict[str, Any] = {"overlap": 0, "best": list(rows), "missed": missed, "picture": "missed.png"}
    content |= {
        "published": [key for key in rows if key != "champion_small"],
        "left_out": "Left out: alexnet.",
        "trained_on": "All 2 trainings ran here.",
    }
    content |= {
        "splits": {"half": Split(train=30_000, validation=5_000, seed=0)},
        "seeds": [3],
        "common": 5_000,
        "more_seeds": MoreSeeds(models=["cnn", "fcnn"], seeds=[4, 5]),
    }
    cnn = {"key": "cnn", "claim": 0.9166, "mean": row("", 0.9203, test_accuracy=0.9)["seeds"]["test"]}
    fcnn = {"key": "fcnn", "claim": 0.9056, "mean": row("", 0.8945)["seeds"]["test"], "interval": None, "verdict": None}
    more = [
        cnn | {"key": verdict, "verdict": verdict, "interval": [0.91, 0.92]}
        for verdict in ("equal", "lower", "undecided")
    ]
    content |= {"margin": 0.005, "reproduced": [*more, fcnn]}
    content |= {"trainings": 2, "flops": 2 * 10**15}
    content |= {
        "neighbours": neighbours,
        "near": 18.0,
        "doubts": 7,
        "judges": 5,
        "level": 0.05,
        "fewest": 3,
    }
    content |= {"budgets": [("5 epochs", "champion_small")], "mirrored": {"champion_small": 0.953}}
    curve: dict[str, Any] = {"seeds": ["3", "4"], "rows": [[0.8, 0.81, 0.825]], "images": 6000}
    curve |= {"theirs": 0.8, "ours": 0.8175, "chance": 0.005}
    content |= {"curves": {"cnn_published": curve}, "last": 5}
    ablations = [{"model": "cnn", "epochs": 3, "seeds": 9, "rows": found}]
    page = render("results.md", dataset="fashion_mnist", rows=rows, ablations=ablations, **content)
    page = page.replace("\N{NARROW NO-BREAK SPACE}", " ")
    lines = [
        "| `cnn` | validation | 93.00 % | 93.36 % ± 0.10 (5) | 90.00 % to 95.00 % | +0.36 | yes, p < 0.001 |",
        "| `cnn` | test | 91.66 % | 93.36 % ± 0.10 (5) | 90.00 % to 95.00 % | +1.70 | no, p = 0.200 |",
        "| `lenet5_1998` | test | none | 88.38 % |  |  |  |",
        "| `wide_dense` | test | none | 90.00 % ± 0.10 (5) | 90.00 % to 95.00 % |  |  |",
        "| without `warmup` | 92.50 % | 0.10 | -0.50 | -0.60 to +0.10 | 0.031 |",
        "| 18 | 600 | 12 | 99.88 % |",
        "- Splits: `half` (30,000 and 5,000): training and validation images, stratified, drawn once",
        "- Compute: 2 trainings, 2 PFLOP. [The README](../README.md) has the processor, and the time of",
        "| `cnn` \\* | 93.46 % | 92.76 % to 93.96 % | 92.36 % | 94.36 % |",
        "| Shirt | Coat | 7 |",
        "Left out: alexnet.",
        "- Seeds: every architecture is trained with 3; `cnn`, `fcnn` with 4, 5, too. An accuracy is the mean of "
        "these, with their standard deviation in",
        "- Hardware: All 2 trainings ran here.",
        "| `cnn_published`, epoch | source | seed 3 | seed 4 |",
        "| 1 | 80.0 % | 81.0 % | 82.5 % |",
        "In the last 5 of these epochs the mean is 80.00 % in the source and 81.75 % here: +1.75 points. The source",
        "| 5 epochs | `champion_small` | 44,426 | 2.32 TFLOP | 95.10 % | 95.10 % |  | 95.30 % |",
    ]
    assert [line for line in lines if line not in page.splitlines()] == []
    assert re.findall("`, published (.*?): (.*).[*][*]", page) == [
        ("91.66 %", "reproduced within 0.5 points"),
        ("91.66 %", "not reproduced: the rebuilt mean is lower"),
        ("91.66 %", "undecided with 5 seeds"),
        ("90.56 %", "not tested with 1 seed"),
    ]
    assert "the mean is 92.03 % ± 0.10 (5), with the interval 91.00 % to 92.00 %.\n" in page
    assert "with Bonferroni's correction for 4 figures: the 97.5 % interval of the mean" in page
    assert " 95 % interval (Wilson) | without 600 near-duplicates | without 7 doubtful labels |\n" in page
    assert "would reach 99.92 %" in page
    digits = render("results.md", dataset="digits", rows=rows, ablations=[], **content)
    assert not re.search("What reproduces|`champion` has blocks|ingredient|Epoch by epoch", digits)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "leaderboard"])
def test_pages_display_well_in_a_browser(tmp_path: Path, name: str) -> None:
    """On a phone and on a desktop nothing overflows the window, nothing is fetched, and the console is empty."""
    if not PYTHON.is_file() or not shutil.which("chromium"):
        pytest.skip("make test-all with Debian's package chromium")
    page = ROOT / f"plots/{name}.html"
    done = subprocess.run(
        [PYTHON, ROOT / "tests/browser.py", page, tmp_path], check=True, capture_output=True, text=True
    )
    problems = json.loads(done.stdout)
    requested = [url for url in problems["requests"] if not url.startswith("data:")]
    assert (problems["overflow"], problems["console"], requested) == ([0, 0, 0], [], [page.as_uri()] * 3)
