"""Everything that a server keeps, in one file, and back: ``sentigraph backup`` and ``restore``.

Taken while the server runs: databases by SQLite's own backup, then the artifacts, which are
written once. Both verbs open what was kept as a registry of its own and read every chain of the
audit ledger and every bundle, so a backup that cannot be restored is none.
"""
