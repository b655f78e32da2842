"""Texts over Kafka: what is read, what is acknowledged, what is tried again. No Ray here."""
