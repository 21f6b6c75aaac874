"""How a command runs: its inputs, processes, environment, checkpoints, progress and error messages.

Fingerprints leave this package out, so an edit here makes no training stale. Of what it does, only two things
can change a result: the kernels that `environment` asks for, which are part of each training's description, and the
number of processes, on GPUs or if there are more than two lanes.
"""
