"""This server beside the bare engine and other servers."""
