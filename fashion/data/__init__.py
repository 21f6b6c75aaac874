"""The data sets: their files, and splits of their images."""
