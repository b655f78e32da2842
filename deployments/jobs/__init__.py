"""Batch jobs: submit over HTTP, classified in the background, kept in a database.

    ingress ─proxy─▶ routes → job_queue → store ◀─ worker → Predictor → Tokenizer → Model

Read ``records.py`` first, then ``store.py`` and ``worker.py``.
"""
