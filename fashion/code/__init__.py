"""The project's own code as an input: its fingerprint, its identity, and code side by side."""
