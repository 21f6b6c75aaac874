"""The tests: each states one property in one sentence."""
