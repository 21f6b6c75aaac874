"""What DVC runs: one command a file, which reads, calls the library and writes."""
