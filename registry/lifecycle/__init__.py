"""Stages and aliases: transitions, gates, and reconciliation with MLflow."""
