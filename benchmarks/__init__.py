"""Benchmarks that a user can run; each figure is a ratio to something measured in the same run."""
