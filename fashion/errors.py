"""Errors that reach the user as one sentence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

# How much of a long message is shown: its start and its end, which names the fix.
FIRST, LAST = 700, 300


class FashionError(Exception):
    """An expected error; its message gives cause and fix in one sentence, whatever the values that it quotes."""

    def __str__(self) -> str:
        """The message on one line."""
        return on_one_line(super().__str__())


def on_one_line(text: str) -> str:
    """A message without line breaks and control characters; a very long one without its middle."""
    if len(text) > FIRST + LAST:
        text = f"{text[:FIRST]} ... {text[-LAST:]}"
    return printable(text)


def printable(text: str) -> str:
    """A text, a file's name for example, with a mark in place of line breaks, control characters and the like."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest known word, or all known words if none is close."""
    words = list(known)
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(words)}."


@contextmanager
def made_by(stage: str) -> Iterator[None]:
    """If the body does not find a file, raise a FashionError that names the stage that makes it."""
    try:
        yield
    except FileNotFoundError as error:
        raise FashionError(f"{error.filename} is not here: dvc repro {stage} makes it.") from None
