"""Models and versions: metadata, search, comparison, uploads, evaluations."""
