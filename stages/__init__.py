"""What DVC runs: one file for each stage; it reads, calls the library and writes."""
