"""One text to one prediction, as an entry replica sees it."""
