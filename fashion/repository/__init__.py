"""The repository: git, DVC, and DVC's locks."""
