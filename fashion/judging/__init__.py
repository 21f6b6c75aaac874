"""What a network's predictions are worth, and how two networks compare."""
