"""A processor that qemu emulates computes the bytes of this one: a few steps of training, and logits."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from fashion.data.reading import Part
from fashion.environment import MEMORY, PORTABLE, native
from fashion.networks.building import build
from fashion.networks.hardware import choose, configure, place
from fashion.networks.inference import finite_logits
from fashion.settings.params import Params
from fashion.training.engine import begin, train
from tests.conftest import ROOT

QEMU = shutil.which("qemu-x86_64")
CODE = "from tests.test_emulated import sums; print(sums())"
# Steps of training, and images that are evaluated.
STEPS, IMAGES = 2, 4


def sums() -> str:
    """The sums of each row's logits with its initial weights, and, if it is in fp32, of its weights after two steps."""
    params, found = Params.load(), dict[str, list[str]]()
    generator, hardware = np.random.default_rng(0), choose("cpu", params.gpu)
    configure(hardware)
    for key, row in params.models.items():
        count = STEPS * row.train.batch_size
        part = Part(generator.integers(0, 256, (count, 28, 28), np.uint8), generator.integers(0, 10, count))
        network = build(row.layers, row.init, 0)
        found[key] = [_sum(finite_logits(place(network, hardware), part.images[:IMAGES], row.pixels))]
        if row.train.precision == "fp32":
            run = begin(network, row, 0, hardware)
            next(train(run, part, part.take(np.arange(IMAGES))))
            found[key] += [_sum(tensor) for tensor in run.network.state_dict().values()]
    return json.dumps(found)


def _sum(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(not QEMU, reason="needs Debian's package qemu-user")
@pytest.mark.skipif(not native("fp32"), reason="needs a processor with AVX2 and FMA")
@pytest.mark.parametrize("processor", ["Haswell", "EPYC-Milan"])
def test_an_emulated_processor_computes_the_same_bytes(processor: str) -> None:
    """Rows in fp32 train to the same weights, and all rows' weights give the same logits, on Intel's and AMD's AVX2."""
    # qemu would not emulate a process that restarts, so memory is set before.
    variables = os.environ | MEMORY | PORTABLE["fp32"].variables
    found = []
    for emulator in ([], [str(QEMU), "-cpu", processor]):
        command = [*emulator, sys.executable, "-c", CODE]
        done = subprocess.run(command, cwd=ROOT, env=variables, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[1] == found[0]
