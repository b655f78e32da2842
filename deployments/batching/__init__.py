"""Gathers texts and cuts them into engine batches by measured cost. Pure: no Ray."""
