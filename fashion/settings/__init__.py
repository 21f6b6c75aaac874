"""The settings of params.yaml, and the description of each training that follows from them."""
