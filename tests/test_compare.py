"""python -m tools compare: anyone's predicted labels against every committed network."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from fashion.data.datasets import DATASETS
from fashion.data.reading import idx_bytes
from fashion.errors import FashionError
from fashion.files import write_bytes, write_json
from fashion.frames import write_csv
from fashion.judging.comparing import holm, mcnemar
from fashion.judging.doubtful import TABLE as DOUBTFUL
from fashion.judging.doubtful import doubtful
from fashion.judging.labels import read_labels
from fashion.judging.neighbours import COLUMNS, TABLE
from tests.conftest import ROOT, Tool, evaluated, ranked

RNG = np.random.default_rng(0)
TRUTH = np.arange(1000) % 10
# Six networks of different layers: all are right on the first 700 images, each on two fifths of its own of the others.
KEYS = ["lenet5", "alexnet", "cnn", "fcnn", "convnet", "wide_dense"]
WRONG = (TRUTH + 1) % 10
FIRST = np.arange(1000) < 700
NETWORKS = {key: np.where(FIRST | (RNG.random(1000) < 0.4), TRUTH, WRONG) for key in KEYS}
DOUBTS = doubtful(TRUTH, [NETWORKS[key] for key in KEYS[:5]])
MINE = np.where(RNG.random(1000) < 0.9, TRUTH, (TRUTH + 2) % 10)


@pytest.fixture(autouse=True)
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files of six evaluated networks, ten near-duplicates and some doubtful labels."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows = {}
    for key, labels in NETWORKS.items():
        evaluated(f"{key}-0", TRUTH, labels)
        rows[key] = ranked(key, accuracy_score(TRUTH, labels))
    write_json(Path("metrics/leaderboard.json"), rows)
    table = pd.DataFrame(0, index=range(1000), columns=[*COLUMNS])
    distance = np.where(np.arange(1000) < 10, 5.0, 50.0)
    write_csv(TABLE, table.assign(image=range(1000), label=TRUTH, distance=distance))
    write_csv(DOUBTFUL, DOUBTS)
    write_bytes(Path("data/raw/t10k-images-idx3-ubyte"), idx_bytes(RNG.integers(0, 256, (1000, 28, 28), np.uint8)))


def written(name: str, labels: Any, separator: str = "\n") -> Path:
    """A file with one label a line, or with another separator."""
    path = Path(name)
    path.write_text(separator.join(map(str, labels)) + "\n")
    return path


def probabilities(labels: Any) -> Any:
    """Scores whose largest is that of the label."""
    return RNG.random((len(labels), 10)) + 2 * np.eye(10)[labels]


CLASSES = DATASETS["fashion_mnist"].classes
ALPHABETICAL = sorted(range(10), key=CLASSES.__getitem__)


def npy(array: Any, **stated: Any) -> bytes:
    """The bytes of a .npy file, whose header may state something else."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, np.lib.format.header_data_from_array_1_0(array) | stated)
    return content.getvalue() + bytes(array.tobytes())


def zipped(content: bytes) -> bytes:
    """A .npz file with these bytes as its only array."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    return file.getvalue()


SERIES, SCORES = pd.Series(MINE), pd.DataFrame(probabilities(MINE))
KAGGLE = pd.DataFrame({"ImageId": range(1, 1001), "Label": MINE})
CHECKED = pd.DataFrame({"truth": TRUTH, "prediction": MINE})
WORDS = CHECKED.map(CLASSES.__getitem__)
NAMED = SCORES.set_axis([*CLASSES], axis="columns")
FORMS: dict[str, Callable[[str], object]] = {
    "lines": lambda file: written(file, MINE),
    "lines with a header": lambda file: written(file, ["label", *MINE]),
    "labels.npy": lambda file: np.save(file, MINE),
    "scores.npy": lambda file: np.save(file, SCORES.to_numpy()),
    "series": SERIES.to_csv,
    "series without index": lambda file: SERIES.to_csv(file, index=False),
    "series without header": lambda file: SERIES.to_csv(file, header=False),
    "named series": lambda file: SERIES.rename("prediction").to_csv(file),
    "frame": lambda file: SERIES.to_frame().to_csv(file),
    "frame without index": lambda file: SERIES.to_frame().to_csv(file, index=False),
    "decimals": lambda file: SERIES.astype(float).to_csv(file),
    "index of all images": lambda file: SERIES.set_axis(range(60_000, 61_000)).to_csv(file),
    "scores": SCORES.to_csv,
    "scores without index": lambda file: SCORES.to_csv(file, index=False),
    "scores alone": lambda file: SCORES.to_csv(file, index=False, header=False),
    "scores with names": lambda file: SCORES.set_axis([*"abcdefghij"], axis=1).to_csv(file),
    "scores in another order": lambda file: SCORES.sample(frac=1, random_state=0).to_csv(file),
    "truth": lambda file: CHECKED.to_csv(file, index=False),
    "truth in another order": lambda file: CHECKED.sample(frac=1, random_state=0).to_csv(file),
    "Kaggle": lambda file: KAGGLE.to_csv(file, index=False),
    "Kaggle with an index": KAGGLE.to_csv,
    "Kaggle in another order": lambda file: KAGGLE.sample(frac=1, random_state=0).to_csv(file, index=False),
    "spaces": lambda file: KAGGLE.set_axis([" Id", " PREDICTION "], axis=1).to_csv(file, index=False),
    "tabs": lambda file: KAGGLE.to_csv(file, sep="\t"),
    "semicolons": lambda file: SCORES.to_csv(file, sep=";"),
    "spaces between": lambda file: np.savetxt(file, SCORES),
    "spaces below a header": lambda file: Path(file).write_text(KAGGLE.to_string(index=False)),
    "spaces after commas": lambda file: Path(file).write_text(KAGGLE.to_csv(index=False).replace(",", ", ")),
    "Excel": lambda file: KAGGLE.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\r\n"),
    "a row": lambda file: written(file, MINE, ","),
    "a row of spaces": lambda file: written(file, MINE, " "),
    "a row of a frame": SERIES.to_frame().T.to_csv,
    "ten rows": SCORES.T.to_csv,
    "names": lambda file: written(file, WORDS["prediction"]),
    "names and true names": lambda file: WORDS.to_csv(file, index=False),
    "names in another spelling": lambda file: written(
        file, WORDS["prediction"].str.lower().replace({"ankle boot": "ANKLE_BOOT", "t-shirt/top": "Tshirt"})
    ),
    "names above scores": lambda file: NAMED.iloc[:, ALPHABETICAL].to_csv(file, index=False),
    "names above scores and more": lambda file: NAMED.iloc[:, ALPHABETICAL].assign(file="a 1").to_csv(file),
    "numbers above scores": lambda file: SCORES.iloc[:, ALPHABETICAL].to_csv(file, index=False),
    "class_0": lambda file: SCORES.iloc[:, ALPHABETICAL].add_prefix("class_").to_csv(file),
    "CAPITALS.NPY": lambda file: Path(file).write_bytes(npy(MINE)),
    "row.npy": lambda file: np.save(file, MINE[None]),
    "names.npy": lambda file: np.save(file, WORDS["prediction"].to_numpy(str)),
    "labels.npz": lambda file: np.savez(file, MINE),
    "scores.npz": lambda file: np.savez_compressed(file, scores=SCORES.to_numpy(np.float32)),
    "labels.json": lambda file: Path(file).write_text(json.dumps(MINE.tolist())),
    "names.json": lambda file: Path(file).write_text(json.dumps(WORDS["prediction"].tolist())),
    "scores.json": lambda file: Path(file).write_text(json.dumps(SCORES.to_numpy().tolist())),
    "a long number as a name": lambda file: written(file, ["a" + 5000 * "9", *MINE]),
    "other columns": lambda file: KAGGLE.assign(name="a shirt", score=0.5).to_csv(file, index=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_labels(form: str) -> None:
    """Labels or scores, as arrays or tables as pandas writes them, in any order that a column states: all are equal."""
    FORMS[form](form)
    assert (read_labels(Path(form), TRUTH, CLASSES) == MINE).all()


@pytest.mark.parametrize("form", ["series without index", "numbers above scores", "class_0"])
def test_classes_that_are_numbers_are_read_as_these(form: str) -> None:
    """Where the names of the classes are 0 to 9, as for digits, tables give the same labels."""
    FORMS[form](form)
    assert (read_labels(Path(form), TRUTH, DATASETS["digits"].classes) == MINE).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CHECKED.assign(label=TRUTH), r"more than one prediction for each image \('prediction', 'label'\): keep one"),
        (SCORES.assign(label=TRUTH), "more than one prediction for each image"),
        (KAGGLE.assign(row=range(1000, 0, -1)), "two columns that number the images, each in another order: keep one"),
        (KAGGLE.assign(ImageId=KAGGLE["ImageId"].sample(frac=1, random_state=0).to_numpy()), "as many as by chance"),
        (
            KAGGLE[["ImageId"]].assign(one=1, two=2),
            r"1,000 x 2 values \('one', 'two'\): .* in a column called prediction or label",
        ),
        (KAGGLE[1:], "999 x 2 values below the header 'ImageId', and there are 1,000 test images: expected labels"),
        (
            NAMED.drop(columns="Bag").assign(file="a"),
            r"does not name each of the classes once in its header \('tshirttop', .*\): expected labels from 0",
        ),
        (NAMED.rename(columns={"Bag": "Bags"}), "does not name each of the classes once"),
        (NAMED.assign(top=1, trouser=2), "does not name each of the classes once"),
        (pd.Series([3, *MINE]).rename(5), "1,002 x 1 values"),
    ],
    ids=[
        "two labels",
        "labels and scores",
        "two orders",
        "wrong order",
        "no labels",
        "too few",
        "nine classes",
        "a misspelt class",
        "a class twice",
        "too many",
    ],
)
def test_what_can_mean_two_things_is_reported(table: pd.DataFrame, message: str) -> None:
    """Columns that contradict each other, and rows that are no test images, are reported and never guessed."""
    table.to_csv("mine.csv", index=False)
    with pytest.raises(FashionError, match=rf"^mine\.csv .*{message}"):
        read_labels(Path("mine.csv"), TRUTH, CLASSES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            MINE[:-1],
            "has 999 x 1 values, and there are 1,000 test images: expected labels from 0 to 9 or names of classes,",
        ),
        (MINE + 1, "has '10' for image [0-9]+: expected labels from 0 to 9"),
        (MINE + 0.5, r"has '[0-9]\.5' for image 0: expected"),
        ([*MINE[:-1], "Shoe"], "has 'Shoe' for image 999: expected labels from 0 to 9 or names of classes"),
        (np.sort(MINE), "has 1[0-9]\\.[0-9]% right labels, as many as by chance: expected a label for each test image"),
        ([], "is empty: expected labels"),
        ([f"{label},1" for label in MINE], "has 1,000 x 2 values"),
        ([*MINE[1:], "1,1"], "has 2 values in row 1,000 and 1 in the first: expected labels"),
        (["nan", *MINE[1:]], "has 999 x 1 values below the header 'nan'"),
        (["0,5;1", *MINE[1:]], "has 1 values in row 2 and 2 in the first"),
        (["0,5;1"] * 1000, "has 999 x 2 values below the header '0,5'.* score such as 0.5"),
        *(
            ([*MINE[:-1], text], f"has {re.escape(repr(text))} for image 999: expected")
            for text in ("nan", "inf", "1e400", "99999999999999999999", "\0")
        ),
    ],
)
def test_a_damaged_file_is_reported(tool: Tool, labels: Any, message: str) -> None:
    """Wrong length, labels, order or content end with one sentence that says what was found and what was expected."""
    code, output, errors = tool("compare", str(written("mine.csv", labels)))
    assert (code, output) == (1, "")
    assert re.search(f"^error: mine.csv {message}", errors)


def test_other_files_are_reported() -> None:
    """A table of other test images is reported, and so is a missing file."""
    pd.DataFrame({"truth": TRUTH[::-1], "prediction": MINE[::-1]}).to_csv("other.csv", index=False)
    for name, message in (("missing.csv", "is not here, or not a file"), ("other.csv", "has other true labels than")):
        with pytest.raises(FashionError, match=rf"^{name} {message}"):
            read_labels(Path(name), TRUTH, CLASSES)


FLOATS = np.zeros(10)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", b"\xff\xfe\0", "cannot be read .*codec"),
        ("wide.csv", b"1," * 1_000_000, "has 1,000,001 x 1 values"),
        ("large.csv", b"1," * 5_000_000, r"cannot be read \(its size is 10,000,000, and 8,388,608 is the limit\)"),
        ("nul.csv", bytes(1000), "below the header"),
        ("quote.csv", b'"' + b"1\n" * 200_000, "cannot be read .*field limit"),
        ("text.npy", npy(np.array(["a", "b"])), "has 1 x 1 values below the header 'a'"),
        ("none.npy", b"no array", "cannot be read .*magic string"),
        ("one.npy", npy(np.array(1)), "cannot be read .*no list"),
        ("several.npz", zipped(b"")[:-22] * 2, "cannot be read"),
        ("objects.npy", npy(FLOATS, descr="|O"), "cannot be read .*allow_pickle"),
        ("pickle.npz", zipped(pickle.dumps(1)), "cannot be read .*magic string"),
        # Forged shapes: 8 TB, more than 64 bits, a trillion values without bytes, a trillion rows without values.
        *(
            (f"{number}{end}", file(npy(FLOATS, shape=shape, descr=kind)), rf"cannot be read \({message}")
            for end, file in ((".npy", bytes), (".npz", zipped))
            for number, (kind, shape, message) in enumerate(
                (
                    ("<f8", (10**12,), "(Unable to allocate|Failed to read|EOF)"),
                    ("<f8", (10**30,), "Python int too large"),
                    ("|V0", (10**12,), "its size is 8,000,000,000,000"),
                    ("<f8", (10**12, 0), "its size is 8,000,000,000,000"),
                )
            )
        ),
        ("bomb.npz", zipped(bytes(10_000_000)), "cannot be read .*its size is 10,000,000"),
        ("object.json", b"{}", "cannot be read .*no list"),
        ("deep.json", b"[" * 100_000, "cannot be read .*recursion"),
        ("surrogate.json", b'["\\ud800", "\\ud800"]', "has 1 x 1 values below the header"),
        ("number.json", b"[" + b"9" * 5000 + b"]", "cannot be read .*4300 digits"),
        ("empty.json", b"[]", "is empty"),
        ("mixed.json", b"[1, [2, 3]]", "has 2 values in row 2 and 1 in the first"),
    ],
)
def test_a_hostile_file_ends_in_a_sentence(tool: Tool, name: str, content: bytes, message: str) -> None:
    """Damaged, forged and oversized files of every format are refused in a line, and nothing is unpickled."""
    Path(name).write_bytes(content)
    code, output, errors = tool("compare", name)
    assert (code, output) == (1, "")
    assert re.fullmatch(f"error: {name} .*{message}.*", errors)


def test_of_several_arrays_none_is_chosen() -> None:
    """An archive with two arrays is refused."""
    np.savez("two.npz", a=MINE, b=MINE)
    with pytest.raises(FashionError, match="2 arrays in place of one"):
        read_labels(Path("two.npz"), TRUTH, CLASSES)


@pytest.mark.parametrize(
    ("order", "meaning"),
    [
        (ALPHABETICAL, "its numbers are those of the classes in alphabetical order"),
        ([6, 1, 2, 3, 4, 5, 0, 7, 8, 9], "0 is Shirt, 6 is T-shirt/top"),
        ([1, 2, 3, 4, 0, *range(5, 10)], "0 is Trouser, 1 is Pullover, 2 is Dress, 3 is Coat, 4 is T-shirt/top"),
    ],
    ids=["alphabetical", "exchanged", "rotated"],
)
@pytest.mark.parametrize("right", [0.75, 1.0])
def test_numbers_of_other_classes_are_named(tool: Tool, order: list[int], meaning: str, right: float) -> None:
    """Labels and scores in another order of the classes are refused, and the message names the likely order."""
    labels = np.argsort(order)[np.where(RNG.random(1000) < right, MINE, RNG.integers(0, 10, 1000))]
    pd.DataFrame(probabilities(labels)).to_csv("scores.csv", header=False)
    for path in (written("labels.csv", labels), Path("scores.csv")):
        code, output, errors = tool("compare", str(path))
        assert (code, output) == (1, "")
        assert re.fullmatch(
            rf"error: {path} has .*% right labels, and would have .*% if {meaning}: write names .*", errors
        )


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_weak_classifier_is_judged(tool: Tool, collapsed: bool) -> None:
    """Labels that are 40 % right are judged, be most shirts called T-shirts and back, or be only four classes named."""
    if collapsed:
        labels = np.array([0, 1, 0, 1, 4, 5, 4, 5, 0, 5])[TRUTH]
    else:
        confused = np.array([6, 3, 4, 1, 2, 7, 0, 5, 9, 8])[TRUTH]
        labels = np.where(RNG.random(1000) < 0.4, TRUTH, np.where(RNG.random(1000) < 0.8, confused, MINE))
    code, output, _ = tool("compare", str(written("weak.csv", labels)), "--json")
    assert code == 0
    assert json.loads(output)["parts"]["all"]["accuracy"] == accuracy_score(TRUTH, labels)


def test_without_networks_nothing_is_compared(tool: Tool) -> None:
    """A leaderboard without networks is reported."""
    Path("metrics/leaderboard.json").write_text("{}")
    errors = tool("compare", str(written("mine.csv", MINE)))[2]
    assert errors.startswith("error: metrics/leaderboard.json ranks no network: dv")


def test_figures_are_those_of_the_tests(tool: Tool) -> None:
    """JSON has the paired test against each network, Holm-corrected, and the indices of the images that decide."""
    code, output, _ = tool("compare", str(written("mine.csv", MINE)), "--json", "--name", "Mine")
    found = json.loads(output)
    assert (code, found["name"]) == (0, "Mine")
    assert found["parts"]["all"]["accuracy"] == accuracy_score(TRUTH, MINE)
    assert found["parts"]["without near-duplicates"]["images"] == 990
    corrected = holm([mcnemar(TRUTH, theirs, MINE).p for theirs in NETWORKS.values()])
    assert [row["p"] for row in found["rows"]] == pytest.approx(corrected)
    for row in found["rows"]:
        theirs = NETWORKS[row["model"]] == TRUTH
        changed = {"fixed": (MINE == TRUTH) & ~theirs, "broken": (MINE != TRUTH) & theirs}
        for name, expected in changed.items():
            images = found["images"][row["model"]][name]
            assert (row[name], sorted(images)) == (expected.sum(), np.flatnonzero(expected).tolist())
    assert found["parts"]["without doubtful labels"]["images"] == 1000 - len(DOUBTS) < 1000


def test_a_gained_class_is_named(tool: Tool) -> None:
    """A file that is right wherever cnn is, and on all trousers, gains the class of trousers and no other."""
    labels = np.where(TRUTH == 1, 1, NETWORKS["cnn"])
    _, output, _ = tool("compare", str(written("mine.csv", labels)), "--json")
    row = next(row for row in json.loads(output)["rows"] if row["model"] == "cnn")
    assert (row["gained"], row["lost"], row["broken"]) == (["Trouser"], [], 0)
    assert row["fixed"] == (NETWORKS["cnn"][TRUTH == 1] != 1).sum()


def test_the_classes_of_all_networks_are_tested_together(tool: Tool) -> None:
    """Nine more right of one class, p = 2 / 2^9, pass ten tests together and not the sixty against six networks."""
    missed = np.flatnonzero((NETWORKS["cnn"] != TRUTH) & (TRUTH == 1))[:9]
    labels = NETWORKS["cnn"].copy()
    labels[missed] = 1
    _, output, _ = tool("compare", str(written("mine.csv", labels)), "--json")
    found = json.loads(output)
    row = next(row for row in found["rows"] if row["model"] == "cnn")
    assert (row["fixed"], row["broken"], row["gained"]) == (9, 0, [])
    assert found["class_tests"] == 60


def test_text_markdown_and_page_show_the_same(tool: Tool) -> None:
    """The table, the Markdown and the page show the same figures, and the page has pictures and fetches nothing."""
    file, page = str(written("mine.csv", MINE)), Path("compared.html")
    _, text, _ = tool("compare", file, "--page", str(page))
    _, markdown, _ = tool("compare", file, "--markdown")
    test = mcnemar(TRUTH, NETWORKS["cnn"], MINE)
    assert f"{accuracy_score(TRUTH, MINE):.2%}" in text
    assert re.search(rf"\ncnn .*[+]{100 * test.gain:.2f} +{test.fixed} +{test.broken} ", text)
    assert f"| {100 * test.gain:+.2f} | {test.fixed} | {test.broken} |" in markdown
    assert markdown.startswith("### mine\n\nIt is better than ")
    content = page.read_text()
    assert content.count("data:image/png;base64,") == 40
    # Where the file is right, fewer than half of the six networks are; where it is wrong, more than half.
    right = [int(number) for number in re.findall(r"(\d) of 6 right", content)]
    assert max(right[:20]) < 3 < min(right[20:])
    assert not re.search(r'(src|href)="(?!data:)', content)
    assert f'<td class="n">{100 * test.gain:+.2f}</td>' in content
    assert "Holm-corrected for all 60 of classes and networks" in content


def test_a_network_is_level_with_itself_and_judged_like_all(tool: Tool) -> None:
    """A committed network's own predictions differ from it on no image, and the same labels are doubtful for it."""
    found = json.loads(tool("compare", "metrics/predictions/cnn-0.csv", "--json")[1])
    (row,) = [row for row in found["rows"] if row["model"] == "cnn"]
    assert (row["gain"], row["fixed"], row["broken"], row["p"]) == (0, 0, 0, 1)
    clear = ~np.isin(np.arange(1000), DOUBTS["image"])
    part = found["parts"]["without doubtful labels"]
    assert (part["images"], part["accuracy"]) == (clear.sum(), accuracy_score(TRUTH[clear], NETWORKS["cnn"][clear]))


def test_a_missing_list_of_doubtful_labels_is_reported(tool: Tool) -> None:
    """Without metrics/doubtful.csv the message names the stage that writes it."""
    DOUBTFUL.unlink()
    code, _, errors = tool("compare", str(written("mine.csv", MINE)))
    assert (code, errors) == (
        1,
        "error: metrics/doubtful.csv is not here: dvc repro --single-item models/dvc.yaml:leaderboard makes it.",
    )
