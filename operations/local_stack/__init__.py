"""All servers of sentigraph on one machine, for a person or for the integration tests."""
