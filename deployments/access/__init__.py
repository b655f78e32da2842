"""Who may call, and how often: keys, tokens, roles, rate and concurrency limits."""
