"""What people run next to the pipeline: one file for each tool."""
