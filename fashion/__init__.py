"""Rebuild, train and evaluate published Fashion-MNIST classifiers.

A package imports only those above it in this list:

data: files, splits, nearest images. code: this project's code as an input. settings: params.yaml, and what determines a
training. networks: layers, devices, weights, logits. training: the engine. judging: scores and comparisons. showing:
pictures and pages. using: photos and other formats. repository: git and DVC. cli: error messages.
"""
