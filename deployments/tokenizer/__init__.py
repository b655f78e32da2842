"""Texts to encodings: the Tokenizer deployment."""
