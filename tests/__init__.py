"""The tests: what holds, a sentence each."""
