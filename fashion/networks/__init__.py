"""Networks: layers, how a row of params.yaml becomes a network, weights files, logits."""
