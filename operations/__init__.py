"""What an operator asks: how the system is (``sentigraph status``), what is wrong (``doctor``)."""
