"""A bundle: its files, formats, digests, archives and cache on a node."""
