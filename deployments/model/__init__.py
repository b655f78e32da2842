"""Encodings to scores: the Model deployment and its engines."""
