"""Change a constant or a condition of the code, one at a time, and compare: python -m tests.campaigns.mutations.

The tool `same` finds just the rows that use it. Any other answer is a finding.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fashion.environment import native
from fashion.settings.params import Params, Row
from tests.conftest import REAL, ROOT, Workspace, project

PARAMS = Params.load(ROOT / "params.yaml")
# Small rows that together use every optimizer but nadam, every schedule but linear, and most layers.
KEYS = ("lenet5", "cnn", "fcnn_published", "lenet5_1998", "champion_micro", "champion_small")
# The tool leaves out rows that this processor cannot compute in their precision.
ROWS = {key: row for key in KEYS if native((row := PARAMS.models[key]).train.precision)}
Uses = Callable[[Row], bool]


def _layers(*kinds: str) -> Uses:
    return lambda row: any(f"'{kind}'" in str(row.layers) for kind in kinds)


def _all(_: Row) -> bool:
    return True


def _none(_: Row) -> bool:
    return False


def _smoothed(row: Row) -> bool:
    return row.train.label_smoothing > 0


def _augmented(row: Row) -> bool:
    return bool(row.train.augment.flip or row.train.augment.shift or row.train.augment.erase)


NORMS = _layers("BatchNorm1d", "BatchNorm2d")
# For each file: the code, the changed code, and the rows that train other weights with it.
TRAINING: dict[str, list[tuple[str, str, Uses]]] = {
    "fashion/training/recipe.py": [
        ("momentum=0.9", "momentum=0.8", lambda row: row.train.optimizer == "sgd"),
        ("nesterov=True", "nesterov=False", lambda row: row.train.optimizer == "sgd"),
        ("(step + 1) / (warmup + 1)", "(step + 1) / (warmup + 2)", lambda row: row.train.warmup > 0),
        ("(1 - math.cos(math.pi * left)) / 2", "left", lambda row: row.train.schedule == "cosine"),
        ('"constant": 1.0', '"constant": 0.99', lambda row: row.train.schedule == "constant"),
        (
            "graphs = recipe.weight_decay,",
            "graphs = 1.5 * recipe.weight_decay,",
            lambda row: row.train.weight_decay > 0,
        ),
        ("Adam(weights, rate,", "Adam(weights, rate, eps=1e-7,", lambda row: row.train.optimizer == "adam"),
        ("AdamW(weights, rate,", "AdamW(weights, rate, eps=1e-7,", lambda row: row.train.optimizer == "adamw"),
        ("images // recipe.batch_size)", "images // recipe.batch_size - 1)", _all),
    ],
    "fashion/training/engine.py": [
        ("torch.cat(lane.targets), recipe.label_smoothing)", "torch.cat(lane.targets))", _smoothed),
        ("SeedSequence([run.seed, number])", "SeedSequence([run.seed, number + 1])", _all),
        ("manual_seed(int(drawn[0]))", "manual_seed(int(drawn[1]))", _all),
        ("steps + i, recipe.epochs", "steps + i + 1, recipe.epochs", lambda row: row.train.schedule != "constant"),
    ],
    "fashion/training/lanes.py": [
        ("recipe.label_smoothing) / size", "recipe.label_smoothing) / (size + 1)", _all),
        ("_loss(output, targets, recipe.label_smoothing) / size", "_loss(output, targets, 0.0) / size", _smoothed),
        ("lane.generator.manual_seed(augmentation)", "lane.generator.manual_seed(dropout)", _augmented),
        ("Generator().manual_seed(dropout)", "Generator().manual_seed(augmentation)", _layers("Dropout")),
        ("for other in others:\n        total", "for other in reversed(others):\n        total", _none),
        ("buffer.div_(len(self.all))", "buffer.div_(1)", NORMS),
        ('endswith(("running_mean", "running_var"))', 'endswith("running_mean")', NORMS),
        ("WHOLE = 64", "WHOLE = 16", _none),
    ],
    "fashion/training/augmentation.py": [
        (
            "(shift, shift, shift, shift))",
            "(shift, shift, shift, shift), value=1)",
            lambda row: row.train.augment.shift > 0,
        ),
        ("draw(2) * (len(source)", "(1 - draw(2)) * (len(source)", lambda row: row.train.augment.flip),
        ("(pixels < top + augment.erase)", "(pixels <= top + augment.erase)", lambda row: row.train.augment.erase > 0),
    ],
    "fashion/networks/hardware.py": [("isinstance(first, nn.ReLU) and", "isinstance(first, nn.GELU) and", _none)],
    "fashion/networks/layers.py": [
        ("1.7159 * torch", "1.716 * torch", _layers("ScaledTanh")),
        ("values.stride()) * (1 / (1 - self.p))", "values.stride())", _layers("Dropout")),
        ("round(self.p * 2**16) - 2**15", "round(self.p * 2**16) - 2**15 + 9", _layers("Dropout")),
        ("gradient.sum(0)", "1.01 * gradient.sum(0)", lambda row: row.train.precision == "fp32"),
        ("avg_pool2d(maps, self", "max_pool2d(maps, self", _layers("Subsampling")),
        ("np.arange(1, classes + 1)", "np.arange(2, classes + 2)", _layers("CodeDistance")),
        ("* kernel_size**2) ** -0.5", "* kernel_size) ** -0.5", _layers("PartialConv2d")),
        ("shortcut(maps) + body(maps)", "body(maps) + shortcut(maps)", _none),
        ("groups=in_channels, bias", "groups=in_channels, padding_mode='reflect', bias", _layers("Separable3x3")),
    ],
    "fashion/networks/building.py": [
        ("(gain / fan_in)", "(1.01 * gain / fan_in)", lambda row: row.init != "torch"),
        (
            "shape[2]), bias=False)",
            "shape[2]), bias=True)",
            lambda row: row.layers == PARAMS.models["champion_small"].layers,
        ),
    ],
    "fashion/networks/inference.py": [("(white - black) / 255", "(white - black) / 256", _all)],
    "fashion/data/splitting.py": [("random_state=seed)", "random_state=seed + 1)", _all)],
    "fashion/data/reading.py": [('index[parts == "train"])', 'index[parts == "train"][::-1])', _all)],
}
# The same for code that only scores: then the scores of every row differ, and no weights.
SCORING = [
    ("fashion/judging/scores.py", "DEVIATIONS = 1.9", "DEVIATIONS = 2.9"),
    ("fashion/judging/scores.py", "f1.mean()", "f1.max()"),
    ("fashion/judging/scores.py", "argsort(-confidence[wrong]", "argsort(confidence[wrong]"),
    ("fashion/networks/inference.py", "[:, :, ::-1]", "[:, ::-1]"),
    ("fashion/judging/scores.py", "return 3 * flops", "return 2 * flops"),
]


def findings(workspace: Workspace) -> Iterator[str]:
    """Change the code in each way, and yield what the tool finds wrongly."""
    for file, changes in TRAINING.items():
        for old, new, uses in changes:
            expected = {f"train@{key}" for key, row in ROWS.items() if uses(row)}
            yield from _wrong(workspace, file, old, new, expected)
    for file, old, new in SCORING:
        yield from _wrong(workspace, file, old, new, {f"evaluate@{key}" for key in ROWS})


def _wrong(workspace: Workspace, file: str, old: str, new: str, expected: set[str]) -> Iterator[str]:
    """Change the code once; yield a line if the rows that differ are not the expected ones."""
    workspace.replace(file, old, new)
    output = workspace.run(
        "env", f"FASHION_MNIST_MIRROR={REAL}", "python", "-m", "tools", "same", "--json", "HEAD", *KEYS
    )
    differs = {
        one["name"] for one in json.loads(output)["findings"] if one["result"] == "differs" and "@" in one["name"]
    }
    print(f"{file}: {new!r}: {', '.join(sorted(differs)) or 'nothing'}", flush=True)  # noqa: T201 - progress
    if differs != expected:
        yield f"{file}: {old!r} -> {new!r}: {sorted(differs)} differ and not {sorted(expected)}"
    workspace.run("git", "checkout", "--quiet", ".")


def main() -> None:
    """Print the findings; exit code 1 if there are any."""
    with TemporaryDirectory() as folder:
        wrong = [*findings(project(Path(folder, "project")))]
    print(*wrong, f"{len(wrong)} findings", sep="\n")  # noqa: T201 - the result
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
