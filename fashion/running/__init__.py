"""How and where a stage runs: its inputs, processes, memory, checkpoints, progress. Nothing here affects a result.

The fingerprint of a stage's code leaves this package out, so an edit here makes nothing stale.
"""
