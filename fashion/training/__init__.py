"""The training engine: augmentation, lanes, recipes, epochs, checkpoints, progress."""
