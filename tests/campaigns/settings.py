"""Check thousands of damaged params.yaml as the stage check does: python -m tests.campaigns.settings [COUNT] [SEED].

Each is accepted or reported in one sentence. Any other end is a finding: another exception, a crash, or ten seconds.
"""

import io
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from ruamel.yaml import YAML

from fashion.cli.advice import in_row, sentence
from fashion.errors import FashionError
from fashion.networks.building import LAYERS, build, check_training, plan
from fashion.settings.params import Params, Row
from fashion.training.recipe import smallest_share
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text()
BASE = Params.load(ROOT / "params.yaml")
# Seconds for one file.
LIMIT = 10
LONGEST_MESSAGE = 1_200
# One in this many accepted files trains a network for a step.
TRAINED = 50

# Numbers at the ends of ranges, and beyond.
NUMBERS: list[Any] = [0, -1, 1, 2, 3, 63, 64, 65, 127, 256, 784, 2**31 - 1, 2**31, 2**63 - 1, 2**63]
NUMBERS += [10**9, 10**15, 10**30, 1e-300, 0.0, -0.0, 0.5, 0.99, 0.999995, 1.0, 1e15, 1e308, -1e308]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
WORDS: list[str] = ["", "no", "yes", "auto", "zeros", "reflect", "same", "valid", "\u0661", "a\nb", "a" * 5_000]
WORDS += ["\u2028", "../x", "cuda:256", "cuda:0", "training", "_modules", "forward", "\x7f", "lenet5", "${model}"]
WORDS += ["{}", "%s", "'"]
NESTED: list[Any] = [[], {}, [1, 2], [3, 3], [1, 1, 1, 1], {"a": 1}, {"Tanh": {}}, [["a"]]]
VALUES = [*NUMBERS, *WORDS, *NESTED, None, True, False, {"Linear": {"out_features": 10}}]
# Texts with a meaning in YAML.
TOKENS = ["!!binary aGk=", "!!set {a, b}", "!!python/name:os.system ''", "!!omap [a: 1]", "!!timestamp 2020-01-01"]
TOKENS += ["2020-01-01", "&a [*a]", "*a", "&a 1", "<<: {a: 1}", "? [1, 2] : 3", "0x" + "f" * 5_000, "9" * 5_000]
TOKENS += ["[" * 300, "{a: " * 300, "- " * 300, "\0", "\ufeff", "\u2028", "\x85", "\t", "\r", "---", "..."]
TOKENS += ["%YAML 1.1", "|", ">", "'", '"', "#", ": ", "\n", "1_000", "0o17", "017", "1e3", "+.inf", "~", "=", "<<"]
TOKENS += ["12:30:45", "\U0001f600", "\ud800", "y", "on", "{", "}", "]", ","]
ARGUMENTS = ["a", "bias", "stride", "padding", "inplace", "eps", "groups", "kernel_size", "out_channels", "size"]
ARGUMENTS += ["out_features", "repeat", "classes", "p"]


def mutated(rng: random.Random) -> str:
    """The committed settings with one to three changes: of the text, or of the values before they are written."""
    if rng.random() < 0.4:
        return _changed_text(rng)
    content = YAML(typ="safe").load(TEXT)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change_node(rng, content)
    buffer = io.StringIO()
    try:
        yaml = YAML(typ="safe")
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # the order of layers matters
        yaml.dump(content, buffer)
    except (ValueError, TypeError):
        return _changed_text(rng)
    return buffer.getvalue()


def _changed_text(rng: random.Random) -> str:
    text = TEXT
    for _ in range(rng.choice([1, 1, 2, 3])):
        start = rng.randrange(len(text) + 1)
        piece = rng.choice(TOKENS)
        match rng.randrange(6):
            case 0:
                text = text[:start] + piece + text[start:]
            case 1:
                text = text[:start] + text[start + rng.randrange(40) :]
            case 2:
                text = text[:start] + piece * rng.choice([1, 1, 1, 200]) + text[start + rng.randrange(20) :]
            case 3:
                lines = text.split("\n")
                rng.shuffle(block := lines[(i := rng.randrange(len(lines))) : i + 4])
                text = "\n".join([*lines[:i], *block, *lines[i + 4 :]])
            case 4:
                # A value on its own line, where the structure stays valid.
                lines = text.split("\n")
                i = rng.randrange(len(lines))
                lines[i] = f"{lines[i].split(':')[0]}: {piece}"
                text = "\n".join(lines)
            case 5:
                text = text[:start] + text[start : start + rng.randrange(300)] + text[start:]
    return text


def change_node(rng: random.Random, content: Any) -> None:
    """Replace, delete, rename, add or move a random value."""
    mapping, key = rng.choice([*_nodes(content)])
    match rng.randrange(8):
        case 0 | 1 | 2:
            mapping[key] = rng.choice(VALUES)
        case 3 if isinstance(mapping, dict):
            del mapping[key]
        case 4 if isinstance(mapping, dict):
            mapping[rng.choice([*WORDS, 1, None, True])] = mapping.pop(key)
        case 5 if isinstance(mapping, dict):
            mapping[rng.choice(ARGUMENTS)] = rng.choice(VALUES)
        case 6:
            other, there = rng.choice([*_nodes(content)])
            mapping[key], other[there] = other[there], mapping[key]
        case _:
            names = rng.sample(ARGUMENTS, rng.randrange(4))
            mapping[key] = {rng.choice([*LAYERS]): {name: rng.choice(VALUES) for name in names}}


def _nodes(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in nested mappings and lists, as its container and its key."""
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, key
        if isinstance(value, dict | list):
            yield from _nodes(value)


def judged(path: Path, rng: random.Random) -> str:
    """How the check of a file ends: accepted, reported, or what is wrong with it."""
    try:
        params = Params.load(path)
        for key, row in params.models.items():
            _check(key, row)
        names = [*params.models]
        # All are alike, and each takes a millisecond.
        message = "" if params.describe(rng.choice(names)).text else "empty"
        if names and not rng.randrange(TRAINED):
            _train(params.models[rng.choice([*params.models])])
    except ValidationError as error:
        message = sentence(error)
    except FashionError as error:
        message = str(error)
    except TimeoutError:
        return "hang"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
    if not message:
        return "accepted"
    return "reported" if message.isprintable() and len(message) < LONGEST_MESSAGE else "not one sentence"


def _check(key: str, row: Row) -> None:
    """What the stage check does, if the row differs from the committed one."""
    same = BASE.models.get(key)
    if same and (row, [*row.layers]) == (same, [*same.layers]):
        return
    with in_row(key):
        check_training(plan(row.layers), smallest_share(row.train.batch_size, row.train.lanes))


def _train(row: Row) -> None:
    """Compute a gradient on two images; a network may be too large for this machine."""
    network = build(row.layers, row.init)
    if sum(weight.numel() for weight in network.parameters()) < 10**7:
        images = 2 * smallest_share(min(row.train.batch_size, 4), 1)
        network.train()(torch.rand(images, 1, 28, 28)).float().logsumexp(1).sum().backward()


def chunk(first: int, last: int, seed: int, folder: Path) -> None:
    """Judge files in this process, and write how each ended to a file."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    with (folder / "ends").open("a", buffering=1) as ends:
        for number in range(first, last):
            rng = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
            (folder / "params.yaml").write_text(mutated(rng), encoding="utf-8", errors="surrogatepass")
            signal.alarm(LIMIT)
            end = judged(folder / "params.yaml", rng)
            signal.alarm(0)
            ends.write(f"{number} {end}\n")


def campaign(count: int, seed: int, folder: Path) -> Counter[str]:
    """Judge that many files in child processes, and count their ends; other ends than the two good ones are printed."""
    ends = folder / "ends"
    ends.touch()
    done = 0
    while done < count:
        child = os.fork()
        if child == 0:
            chunk(done, min(done + 500, count), seed, folder)
            os._exit(0)
        started, before, ended = time.monotonic(), done, 0
        while not ended:
            time.sleep(0.2)
            ended, _ = os.waitpid(child, os.WNOHANG)
            if (known := len(ends.read_text().splitlines())) > done:
                started, done = time.monotonic(), known
            elif not ended and time.monotonic() - started > 3 * LIMIT:
                os.kill(child, signal.SIGKILL)
        done = len(ends.read_text().splitlines())
        if done < min(before + 500, count):
            with ends.open("a") as file:
                file.write(f"{done} crash\n")
            done += 1
        print(f"{done} of {count}", flush=True)  # noqa: T201 - progress
    lines = [line.split(" ", 1) for line in ends.read_text().splitlines()]
    for number, end in lines:
        if end not in ("accepted", "reported"):
            print(f"seed {seed}, number {number}: {end}", flush=True)  # noqa: T201 - to repeat it
    return Counter(end for _, end in lines)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    total, start = numbers[0] if numbers else 20_000, numbers[1] if len(numbers) > 1 else 0
    with TemporaryDirectory() as temporary:
        counts = campaign(total, start, Path(temporary))
    print(dict(counts))  # noqa: T201 - the result
    sys.exit(bool(counts.keys() - {"accepted", "reported"}))
