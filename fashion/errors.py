"""Errors that reach the user as one sentence."""

from collections.abc import Iterable
from difflib import get_close_matches


class FashionError(Exception):
    """An expected error; its message gives cause and fix in one sentence."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest known word, or all known words if none is close."""
    words = list(known)
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(words)}."
