"""Networks: layers, how to build them from a row of params.yaml, devices, weights files, logits."""
