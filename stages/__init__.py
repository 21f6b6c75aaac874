"""What DVC runs: one file for each stage, which reads, calls the library and writes."""
