"""`sentigraph doctor`: collects facts and says what is wrong."""
