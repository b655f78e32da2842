"""Alias moves, bad versions, releases and races."""
