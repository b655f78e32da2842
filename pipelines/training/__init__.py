"""Fine-tunes an encoder with a classification head."""
