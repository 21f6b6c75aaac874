"""Rebuild, train and evaluate published Fashion-MNIST classifiers; only the package `running` runs DVC.

A package imports only those above it in this list:

data: files, splits. settings: params.yaml, and what determines a training. networks: layers, weights, logits.
training: the engine. judging: scores and comparisons. showing: pictures and pages. using: photos and other formats.
running: processes, checkpoints and error messages; no result depends on it.
"""
