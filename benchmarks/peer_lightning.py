"""Lightning, in an environment of its own (peers.txt)."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.contestants import dataset, loader, plain_network
from benchmarks.measuring import WARMUP, Clock, main
from fashion.settings.description import Architecture


def lightning(row: Architecture, steps: int) -> float:
    """Time Lightning's Trainer, with the batches of the usual PyTorch loop."""
    clock = Clock(steps)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(max_steps=steps + WARMUP, max_epochs=-1, callbacks=[Ticks(clock)], **quiet)
    trainer.fit(Module(row), loader(dataset()))
    return clock.milliseconds()


class Module(LightningModule):
    """An architecture in the style of Lightning's documentation."""

    def __init__(self, row: Architecture) -> None:
        super().__init__()
        self.network = plain_network(row)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """The loss of a batch."""
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of every contestant."""
        return torch.optim.Adam(self.parameters(), lr=0.001)


class Ticks(Callback):
    """Ticks a clock after each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, *_: object) -> None:
        """Note the step."""
        self.clock.tick()


if __name__ == "__main__":
    main(lightning)
