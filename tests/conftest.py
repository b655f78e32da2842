"""Settings for the whole suite."""

from hypothesis import settings

# The machine may be busy; a slow example is not a wrong one.
settings.register_profile("default", deadline=None, max_examples=60)
settings.load_profile("default")
