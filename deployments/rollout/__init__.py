"""The Registry deployment: watches aliases, loads, probes, switches and drains versions."""
