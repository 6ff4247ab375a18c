"""How many examples a property test generates."""

from hypothesis import settings


def examples(number):
    """`number` in `make test-long`, and about a third of it in `make test`: as the profiles in tests/conftest.py."""
    return max(1, number * settings.default.max_examples // 100)
