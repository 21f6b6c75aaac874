"""The training engine: augmentation, hardware, lanes, recipes, epochs."""
