"""Device and precision: chosen once, refused in one sentence."""

from typing import Any

import pytest
import torch

from fashion import FashionError
from fashion.hardware import choose

PLAIN: dict[str, Any] = {"device": "cpu", "compile": False, "channels_last": True, "deterministic": True, "threads": 1}


def test_auto_takes_what_there_is() -> None:
    """`auto` ends in a device that works and a precision that it has, with the reason in words."""
    chosen = choose(**PLAIN | {"device": "auto"}, precision="auto")
    assert torch.ones(2, device=chosen.device).sum() == 2
    assert chosen.precision in ("bf16", "fp32")
    assert chosen.precision in chosen.why


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_layers_compute_in(precision: str, dtype: torch.dtype) -> None:
    """Under autocast a linear layer gives values of the precision."""
    chosen = choose(**PLAIN, precision=precision)
    with chosen.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_what_determines_numbers_is_recorded() -> None:
    """The header's settings hold the choices, not the `auto`s."""
    chosen = choose(**PLAIN, precision="auto")
    assert chosen.settings() == {
        "device": "cpu",
        "precision": chosen.precision,
        "channels_last": True,
        "compile": False,
        "deterministic": True,
        "threads": 1,
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"device": "cuda"}, "gpu.device is cuda, which this machine or its torch lacks: set it to auto or cpu."),
        ({"device": "cuda:3"}, "gpu.device is cuda:3, which"),
        ({"precision": "fp16"}, "gpu.precision fp16 needs a CUDA device, not cpu: set it to auto."),
    ],
)
def test_what_is_not_there_is_told(changes: dict[str, str], expected: str) -> None:
    """A missing device and a precision that it lacks are one sentence with the cure."""
    with pytest.raises(FashionError) as caught:
        choose(**{"precision": "fp32", **PLAIN, **changes})
    assert expected in str(caught.value)


def test_threads_are_as_set() -> None:
    """gpu.threads is the number of threads that torch then uses."""
    before = torch.get_num_threads()
    try:
        assert choose(**PLAIN | {"threads": 2}, precision="fp32").threads == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
