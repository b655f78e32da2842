"""Faults, outages, alerts and hostile requests."""
