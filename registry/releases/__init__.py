"""A release: shadow, canary steps, the sequential tests that decide."""
