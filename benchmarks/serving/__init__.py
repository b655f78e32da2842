"""Costs of single parts of the serving path."""
