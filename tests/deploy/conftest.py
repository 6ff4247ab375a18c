"""Programs that a machine may not have: a test is skipped without them, where nothing requires them."""

import os

import pytest

from .proxies import found


@pytest.fixture(scope="session")
def program():
    """program(name): the path of a program. CI sets RUNSTEAD_REQUIRE_DEPLOY, so that a skip is an error there."""

    def path(name):
        if (at := found(name)) is None:
            (pytest.fail if os.environ.get("RUNSTEAD_REQUIRE_DEPLOY") else pytest.skip)(
                f"{name} is not installed"
            )
        return at

    return path
