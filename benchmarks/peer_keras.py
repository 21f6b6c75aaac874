"""Keras, on the backend that KERAS_BACKEND names, in an environment of its own (peers.txt)."""

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.measuring import BATCH, RAW, WARMUP, Clock, main
from benchmarks.peer_jax import response_norm
from fashion.data.datasets import SIDE
from fashion.data.reading import read_part
from fashion.settings.description import Architecture


def fp32(row: Architecture, steps: int) -> float:
    """Time Keras's fit in fp32."""
    return _timed(row, steps)


def bf16(row: Architecture, steps: int) -> float:
    """Time Keras's fit in mixed precision: layers compute in bf16, with weights in fp32."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    return _timed(row, steps)


def _timed(row: Architecture, steps: int) -> float:
    """Time Keras's fit, with the images as one array."""
    clock = Clock(steps)
    model = network(row)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"])
    part = read_part(RAW, "train")
    # As many images as the steps take, repeated if needed.
    index = np.arange((steps + WARMUP) * BATCH) % len(part.labels)
    images = part.images[index, :, :, None].astype(np.float32) / 255
    ticks = keras.callbacks.LambdaCallback(on_train_batch_end=clock.tick)
    model.fit(images, part.labels[index], batch_size=BATCH, epochs=1, verbose=0, callbacks=[ticks])
    return clock.milliseconds()


def network(row: Architecture) -> keras.Sequential:
    """The network, with Keras's layers."""
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *(_layer(*layer) for layer in row.layers.values())])


def _layer(kind: str, arguments: dict[str, Any]) -> Any:  # noqa: PLR0911 - a table
    """A row's layer in Keras."""
    match kind, arguments:
        case "Conv2d", {"out_channels": maps, "kernel_size": size, **rest} if rest in ({}, {"padding": size // 2}):
            return layers.Conv2D(maps, size, padding="same" if rest.get("padding") else "valid")
        case "Linear", {"out_features": units, **rest} if not rest:
            return layers.Dense(units)
        case (("MaxPool2d" | "AvgPool2d"), {"kernel_size": size, **rest}) if rest.keys() <= {"stride"}:
            pooling = layers.MaxPooling2D if kind == "MaxPool2d" else layers.AveragePooling2D
            return pooling(size, rest.get("stride"))
        case "Dropout", {"p": share}:
            return layers.Dropout(share)
        case (("BatchNorm1d" | "BatchNorm2d"), _):
            return layers.BatchNormalization()
        case "LocalResponseNorm", {"size": size, "alpha": alpha, "beta": beta, "k": k}:
            if keras.config.backend() == "jax":
                return layers.Lambda(partial(response_norm, size=size, alpha=alpha, beta=beta, k=k))
            lrn = partial(tf.nn.lrn, depth_radius=size // 2, bias=k, alpha=alpha / size, beta=beta)
            # It has no form in bf16.
            return layers.Lambda(lambda x: tf.cast(lrn(tf.cast(x, tf.float32)), x.dtype))
        case (("ReLU" | "Tanh"), _):
            return layers.Activation(kind.lower())
        case "Flatten", _:
            return layers.Flatten()
    raise ValueError(f"{kind} has no counterpart in Keras here")


if __name__ == "__main__":
    main(fp32, bf16)
