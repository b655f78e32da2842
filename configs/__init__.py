"""Configuration: one frozen schema, one reader. Imports nothing else of sentigraph."""
