"""Clients of a running server and of its Ray, for the command line and the local stack."""
