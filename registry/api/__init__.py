"""The registry over HTTP: FastAPI routes under ``/api/v1/models``. Knows the store, no Ray."""
