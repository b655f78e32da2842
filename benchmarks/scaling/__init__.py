"""Simulations of autoscaling, lag and releases, and the running graph."""
