"""Makes `builder` importable by the tests beside it, which are no package."""

import pytest

from .run_builder import RunBuilder


@pytest.fixture
def builder():
    """A task run, just created."""
    return RunBuilder()
