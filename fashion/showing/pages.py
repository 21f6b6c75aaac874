"""Self-contained pages, one file each, from the templates next to this module."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fashion.data.datasets import DATASETS
from fashion.judging.comparing import p_value
from fashion.judging.summaries import Seeds


def render(template: str, **content: Any) -> str:
    """Fill in a template; in HTML everything but Markup is escaped.

    Filters for templates: `percent` for fractions, `p_value` for tests, `seeds` for the mean of seeds, `interval` for
    both ends of an interval, `duration` for seconds, `short` for large numbers, `data` for PNG bytes as a data URL,
    `drawing` for SVG, `title_of` for a data set's title.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "p_value": p_value,
        "seeds": seeds,
        "interval": interval,
        "duration": duration,
        "short": short,
        "data": data,
        "drawing": Markup,
        "title_of": lambda name: DATASETS[name].title,
    }
    return environment.get_template(template).render(content)


def percent(fraction: float, places: int = 2) -> str:
    """0.8932 as 89.32 %."""
    return f"{fraction:.{places}%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def seeds(summary: Seeds) -> str:
    """Mean and standard deviation over the seeds, and their number: 90.81 % ± 0.10 (3); of one seed its accuracy."""
    spread = "" if summary["deviation"] is None else f" ± {100 * summary['deviation']:.2f} ({summary['seeds']})"
    return f"{percent(summary['mean'])}{spread}"


def interval(ends: Sequence[float] | None) -> str:
    """Both ends of an interval: 90.27 % to 91.40 %; empty if there is none."""
    return " to ".join(map(percent, ends or ()))


def duration(seconds: float) -> str:
    """Hours and minutes, rounded to minutes, at least one; empty for 0."""
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    return "" if not seconds else f"{hours} h {rest} min" if hours else f"{minutes} min"


def short(number: float) -> str:
    """A large number to three digits with its SI prefix: 2,317,572,000,000 as 2.32 T."""
    units = ("", "k", "M", "G", "T", "P", "E")
    power = 0
    while number >= 999.5 and power < len(units) - 1:  # noqa: PLR2004 - from 999.5 on it would be written as 1000
        number, power = number / 1000, power + 1
    return f"{number:.3g}\N{NARROW NO-BREAK SPACE}{units[power]}".rstrip()


def data(image: bytes) -> str:
    """A PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
