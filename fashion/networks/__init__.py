"""Networks: their layers, how to build them from a row of params.yaml, weights files, logits."""
