"""Autoscaling: simulations and the running graph."""
