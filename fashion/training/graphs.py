"""CUDA graphs: a step's dozens of kernels in one launch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# In its first calls a function makes what later calls keep: an optimizer's state, workspaces, compiled kernels.
FIRST = 3


class Replay:
    """A function of a tensor that a CUDA graph replays after a few calls: the same kernels, so the same bits.

    Python takes longer to launch small kernels than a GPU to compute them.
    function: it never waits for the GPU, and its argument always has the same shape. All else that it reads and writes
    is in tensors that stay where they are, apart from random numbers of torch's generator and of those given here.
    """

    def __init__(self, function: Callable[[Tensor], list[Tensor]], generators: Sequence[torch.Generator]) -> None:
        self._function, self._generators, self._calls = function, generators, 0
        # A capture needs a stream of its own. The calls before it use that stream too, and so make what it needs.
        self._stream = torch.cuda.Stream(generators[0].device)

    def __call__(self, argument: Tensor) -> list[Tensor]:
        """The function's results, as new tensors."""
        self._calls += 1
        if self._calls <= FIRST:
            return self._called(argument)
        if self._calls == FIRST + 1:
            self._capture(argument)
        self._argument.copy_(argument)
        self._graph.replay()
        return [result.clone() for result in self._results]

    def _called(self, argument: Tensor) -> list[Tensor]:
        """The results of an ordinary call on the graph's stream."""
        current = torch.cuda.current_stream(argument.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            results = self._function(argument)
        current.wait_stream(self._stream)
        return results

    def _capture(self, argument: Tensor) -> None:
        """Record the function's kernels; none of them runs, so nothing changes."""
        self._argument, self._graph = argument.clone(), torch.cuda.CUDAGraph()
        for generator in self._generators:
            self._graph.register_generator_state(generator)
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._results = self._function(self._argument)
