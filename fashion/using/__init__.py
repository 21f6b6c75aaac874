"""Trained networks put to use: photos, ONNX, weights made by others."""
