"""Labelled texts: sources, tables, splits, near duplicates."""
