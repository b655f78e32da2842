"""Batch jobs: submit over HTTP, classified in the background, kept in a database.

    ingress ─relay─▶ api → desk → store ◀─ runner → Predict → Tokenizer → Model

Read ``records.py`` first, then ``store.py`` and ``runner.py``.
"""
