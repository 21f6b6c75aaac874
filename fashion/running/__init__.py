"""How a command runs: its inputs, processes, environment, checkpoints, progress and error messages.

Fingerprints leave this package out, so an edit here makes no training stale. Of what it does, only the kernels that
`environment` asks for can change a result, and these are part of each training's description.
"""
