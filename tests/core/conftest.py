"""Makes `story` importable by the tests beside it, which are no package."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from story import Story


@pytest.fixture
def story():
    """A task run, just created."""
    return Story()
