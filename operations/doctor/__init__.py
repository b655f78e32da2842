"""`sentigraph doctor`: collects facts and reports what is wrong."""
