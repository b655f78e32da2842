"""The dashboards, one file for each; ``monitoring/dashboards.py`` writes them all."""
