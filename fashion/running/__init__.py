"""How a command runs: its inputs, processes, environment, checkpoints, progress and error messages.

No result depends on this package: fingerprints leave it out, so an edit here makes no training stale.
"""
