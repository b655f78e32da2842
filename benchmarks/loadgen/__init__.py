"""Load generators: closed and open loop."""
