"""Uses of trained networks: predictions for photos, ONNX, weights made by others."""
