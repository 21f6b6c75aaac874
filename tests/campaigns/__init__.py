"""Searches for mistakes that take minutes to hours: thousands of settings, files, kills and circumstances."""
