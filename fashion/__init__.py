"""Rebuild, train and judge published Fashion-MNIST classifiers; knows nothing of DVC or the command line."""

from collections.abc import Iterable
from difflib import get_close_matches


class FashionError(Exception):
    """A failure that its message explains in one sentence, cure included."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known words, the closest one first where any is close: the end of an error message."""
    words = list(known)
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(words)}."
