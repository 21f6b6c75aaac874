"""Results at a commit and in this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NotRequired, TypeVar

import numpy as np
from typing_extensions import TypedDict

from fashion.data.reading import Labels
from fashion.errors import FashionError
from fashion.files import parsed
from fashion.judging.evaluated import labels_in, scores_file
from fashion.repository.commands import output
from fashion.settings.description import Fraction, Key, Seed

Content = TypeVar("Content")
# `class` cannot be an attribute.
Class = TypedDict("Class", {"class": str, "recall": Fraction})


class Part(TypedDict):
    """The accuracy on one part of the data."""

    accuracy: Fraction


class Scores(TypedDict):
    """What the scores of every version of the code have; the oldest name no training."""

    training: NotRequired[str]
    validation: Part
    test: Part
    classes: list[Class]


class Report(TypedDict):
    """The chosen model's training; the oldest reports name no seed."""

    model: Key
    seed: NotRequired[Seed]


# Reads a file of one version; None if that version has no such file.
Read = Callable[[str], str | None]


class Answers(NamedTuple):
    """True labels, labels predicted in an earlier version, labels predicted in a later one."""

    truth: Labels
    before: Labels
    after: Labels


def at(commit: str) -> Read:
    """The files at a commit; FashionError, with git's own cause, if git has one but cannot show it."""

    def read(path: str) -> str | None:
        return output("git", "show", f"{commit}:./{path}") if output("git", "ls-tree", commit, "--", path) else None

    return read


def here(path: str) -> str | None:
    """A file in this folder."""
    return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None


def scores_in(read: Read, name: str) -> Scores | None:
    """The scores of a training; None if there are none, FashionError if they are damaged."""
    return _parsed(read, str(scores_file(name)), lambda text: parsed(text, Scores))


def report_in(read: Read) -> Report | None:
    """Which training the report is of; None if there is no report, FashionError if it is damaged."""
    return _parsed(read, "metrics/report.json", lambda text: parsed(text, Report))


def answers(before: Read, old: str, after: Read, new: str) -> Answers | None:
    """The labels that two trainings predict; None if they are not of the same test images."""
    was, now = _labels(before, old), _labels(after, new)
    return Answers(now[0], was[1], now[1]) if was and now and np.array_equal(was[0], now[0]) else None


def _labels(read: Read, name: str) -> tuple[Labels, Labels] | None:
    """The true and the predicted label of each test image, which the scores must be of; None if there is no file."""
    path, scores = f"metrics/predictions/{name}.csv", scores_in(read, name)
    labels = _parsed(read, path, labels_in)
    if labels and scores and round(float((labels[0] == labels[1]).mean()), 6) != scores["test"]["accuracy"]:
        pair = f"{path} and {scores_file(name)}"
        raise FashionError(f"{pair} contradict each other, here or in that commit: restore them with git.")
    return labels


def _parsed(read: Read, path: str, parse: Callable[[str], Content]) -> Content | None:
    try:
        return None if (text := read(path)) is None else parse(text)
    except ValueError as error:
        raise FashionError(f"{path} is damaged, here or in that commit ({error}): restore it with git.") from None
