"""Pages: one file each, nothing fetched, from the templates beside this module."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

DATASETS = {
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "kmnist": "Kuzushiji-MNIST",
    "digits": "The digits of scikit-learn",
}


def render(template: str, **content: Any) -> str:
    """A template filled in; whatever is no Markup is escaped.

    Templates write fractions with `percent`, large numbers with `short`, PNG bytes as the `data` of an image, SVG with
    `drawing`, a data set's name with `title_of`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "short": short,
        "data": data,
        "drawing": Markup,
        "title_of": DATASETS.get,
    }
    return environment.get_template(template).render(content)


def percent(fraction: float, places: int = 2) -> str:
    """0.8932 as 89.32 %."""
    return f"{fraction:.{places}%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def short(number: float) -> str:
    """A large number to three digits with its unit: 2,317,572,000,000 as 2.32 T."""
    units = ("", "k", "M", "G", "T", "P", "E")
    power = 0
    while number >= 999.5 and power < len(units) - 1:  # noqa: PLR2004 - 999.5 and more would be written 1000
        number, power = number / 1000, power + 1
    return f"{number:.3g}\N{NARROW NO-BREAK SPACE}{units[power]}".rstrip()


def data(image: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
