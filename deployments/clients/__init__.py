"""Clients of servers outside the graph, with their breakers and retries."""
