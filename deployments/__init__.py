"""One request, from HTTP to scores: ``app.py`` first, then as ``docs/architecture.md`` walks."""
