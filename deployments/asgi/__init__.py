"""What every HTTP application of the graph shares: the exchange, the proxy, error answers."""
