"""What people run apart from the pipeline: one file for each tool."""
