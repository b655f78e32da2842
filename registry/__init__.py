"""What a model is and which one is live. Knows no HTTP and no Ray."""
