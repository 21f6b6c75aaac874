"""What people run beside the pipeline: one command a file."""
