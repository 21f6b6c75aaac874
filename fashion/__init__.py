"""Rebuild, train and judge published Fashion-MNIST classifiers; the library knows nothing of DVC or the command line.

A package imports those above it in this list, and none below:

data: files, splits. settings: params.yaml, and what determines a training. networks: layers, weights, logits.
training: the engine. judging: scores and comparisons. showing: pictures and pages. using: photos and other formats.
running: processes, checkpoints and messages; no result depends on it.
"""
