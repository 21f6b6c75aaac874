"""JAX with Flax and optax, in an environment of its own (peers.txt)."""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax import numpy as jnp

from benchmarks.measuring import BATCH, RAW, WARMUP, Clock, main
from fashion.data.datasets import SIDE
from fashion.data.reading import read_part
from fashion.settings.description import Architecture


def fp32(row: Architecture, steps: int) -> float:
    """Time a jitted step in fp32."""
    return _timed(row, steps, jnp.float32)


def bf16(row: Architecture, steps: int) -> float:
    """Time a jitted step whose layers compute in bf16, with weights in fp32."""
    return _timed(row, steps, jnp.bfloat16)


def _timed(row: Architecture, steps: int, dtype: Any) -> float:
    """Time a step, in the form that Flax's guide to performance calls a functional training loop; data in memory."""
    clock, part, built = Clock(steps), read_part(RAW, "train"), network(row, dtype)
    graph, state = nnx.split((built, nnx.Optimizer(built, optax.adam(0.001), wrt=nnx.Param)))

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, images: Array, labels: Array, index: Array) -> Any:
        model, optimizer = nnx.merge(graph, state)
        gradients = nnx.grad(_loss)(model, images[index], labels[index])
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer))

    images, labels = jnp.asarray(part.images[..., None], dtype) / 255, jnp.asarray(part.labels)
    order = np.random.default_rng(0).permutation(len(labels))
    for number in range(steps + WARMUP):
        index = order.take(range(number * BATCH, (number + 1) * BATCH), mode="wrap")
        state = step(state, images, labels, index)
        if number in (WARMUP - 1, WARMUP - 1 + steps):
            # Steps are only queued until someone asks for their result.
            jax.block_until_ready(state)
        clock.tick()
    return clock.milliseconds()


def _loss(model: Any, images: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(images).astype(jnp.float32), labels).mean()


def network(row: Architecture, dtype: Any = jnp.float32) -> nnx.Sequential:
    """The network, built layer by layer: each needs the width of what it gets."""
    rngs, layers, x = nnx.Rngs(0), [], jnp.zeros((2, SIDE, SIDE, 1))
    for kind, arguments in row.layers.values():
        layers.append(_layer(kind, arguments, x.shape[-1], dtype, rngs))
        x = layers[-1](x)
    return nnx.Sequential(*layers)


def _layer(kind: str, arguments: dict[str, Any], width: int, dtype: Any, rngs: nnx.Rngs) -> Any:  # noqa: PLR0911 - a table
    """A row's layer in Flax, for an input whose last axis has that width."""
    match kind, arguments:
        case "Conv2d", {"out_channels": maps, "kernel_size": size, **rest} if rest in ({}, {"padding": size // 2}):
            padding = "SAME" if rest.get("padding") else "VALID"
            return nnx.Conv(width, maps, (size, size), padding=padding, dtype=dtype, rngs=rngs)
        case "Linear", {"out_features": units, **rest} if not rest:
            return nnx.Linear(width, units, dtype=dtype, rngs=rngs)
        case (("MaxPool2d" | "AvgPool2d"), {"kernel_size": size, **rest}) if rest.keys() <= {"stride"}:
            pool = nnx.max_pool if kind == "MaxPool2d" else nnx.avg_pool
            return partial(pool, window_shape=(size, size), strides=(rest.get("stride", size),) * 2)
        case "Dropout", {"p": share}:
            return nnx.Dropout(share, rngs=rngs)
        case (("BatchNorm1d" | "BatchNorm2d"), _):
            return nnx.BatchNorm(width, dtype=dtype, rngs=rngs)
        case "LocalResponseNorm", {"size": size, "alpha": alpha, "beta": beta, "k": k}:
            return partial(response_norm, size=size, alpha=alpha, beta=beta, k=k)
        case "ReLU", _:
            return nnx.relu
        case "Tanh", _:
            return nnx.tanh
        case "Flatten", _:
            return lambda x: x.reshape(len(x), -1)
    raise ValueError(f"{kind} has no counterpart in Flax here")


def response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Local response normalisation over the last axis."""
    total = lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, size), (1, 1, 1, 1), "SAME")
    return x / (k + alpha / size * total) ** beta


if __name__ == "__main__":
    main(fp32, bf16)
