"""Metrics, baselines, the report and the model card."""
