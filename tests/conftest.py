"""Settings for the whole suite."""

import gc
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The machine may be busy; a slow example is not a wrong one.
settings.register_profile("default", deadline=None, max_examples=60)
settings.load_profile("default")


@pytest.fixture
def sockets_of_kafka_python() -> Iterator[None]:
    """Collects sockets that kafka-python leaves behind a connection that was refused or lost.

    What earlier tests left is set aside: going through all of it takes seconds each time.
    """
    gc.freeze()
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
    gc.unfreeze()
