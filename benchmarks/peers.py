"""Who else is timed, in an environment of their own (peers.txt): Lightning, and Keras on TensorFlow."""

import os
from typing import Any

import numpy as np

from benchmarks.contestants import BATCH, WARMUP, Clock, dataset, loader, main, torchs
from benchmarks.processes import RAW
from fashion.description import Architecture


def lightning(row: Architecture, steps: int) -> float:
    """Run Lightning's Trainer on the same batches."""
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer

    clock = Clock(steps)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = torchs(row)

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            images, labels = batch
            return torch.nn.functional.cross_entropy(self.network(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.001)

    class Ticks(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            clock.tick()

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    Trainer(max_steps=steps + WARMUP, max_epochs=-1, callbacks=[Ticks()], **quiet).fit(Module(), loader(dataset()))
    return clock.milliseconds()


def keras(row: Architecture, steps: int) -> float:
    """Run fit of Keras on TensorFlow, with the images as one array."""
    # Read when keras is imported; the processor's time is what is compared.
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    import keras

    from fashion.data import read_part

    clock = Clock(steps)
    network = keras.Sequential([keras.Input((28, 28, 1)), *(_layer(*layer) for layer in row.layers.values())])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"])
    part = read_part(RAW, "train")
    # As many images as the steps take, over and over.
    index = np.arange((steps + WARMUP) * BATCH) % len(part.labels)
    images = part.images[index, :, :, None].astype(np.float32) / 255
    ticks = keras.callbacks.LambdaCallback(on_train_batch_end=clock.tick)
    network.fit(images, part.labels[index], batch_size=BATCH, epochs=1, verbose=0, callbacks=[ticks])
    return clock.milliseconds()


def _layer(kind: str, arguments: dict[str, Any]) -> Any:  # noqa: PLR0911 - a table
    """A row's layer as Keras has it."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    match kind, arguments:
        case "Conv2d", {"out_channels": maps, "kernel_size": size, **rest}:
            return layers.Conv2D(maps, size, padding="same" if rest.get("padding") else "valid")
        case "Linear", {"out_features": units}:
            return layers.Dense(units)
        case (("MaxPool2d" | "AvgPool2d"), {"kernel_size": size, **rest}):
            pooling = layers.MaxPooling2D if kind == "MaxPool2d" else layers.AveragePooling2D
            return pooling(size, rest.get("stride"))
        case "Dropout", {"p": share}:
            return layers.Dropout(share)
        case (("BatchNorm1d" | "BatchNorm2d"), _):
            return layers.BatchNormalization()
        case "LocalResponseNorm", {"size": size, "alpha": alpha, "beta": beta, "k": k}:
            return layers.Lambda(lambda x: tf.nn.lrn(x, size // 2, bias=k, alpha=alpha / size, beta=beta))
        case (("ReLU" | "Tanh"), _):
            return layers.Activation(kind.lower())
        case "Flatten", _:
            return layers.Flatten()
    raise ValueError(f"{kind} has no counterpart in Keras here")


if __name__ == "__main__":
    main((lightning, keras))
