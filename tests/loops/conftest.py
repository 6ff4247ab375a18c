"""Loops on SQLite, with clocks that only a test moves."""

from itertools import count

import pytest

from runstead.commands.app import App
from runstead.core.leadership import LeaderState
from runstead.engines.notifiers.local import LocalNotifier
from runstead.loops.leader import Leader
from runstead.testing.store import TemporaryStore
from tests.support.clock import Clock
from tests.support.until import eventually


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(clock):
    store = TemporaryStore(clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def new_app(store, clock):
    """new_app(): a replica that shares the store and the notifier with the others."""
    notifier = LocalNotifier()

    def make():
        app = App(store, notifier)
        app.leader_state = LeaderState(clock.elapsed)
        return app

    return make


@pytest.fixture
def app(new_app):
    return new_app()


@pytest.fixture
def new_leader(new_app):
    """new_leader(): (a replica, its leader election)"""
    numbers = count(1)

    def make():
        app = new_app()
        return app, Leader(app, f"replica-{next(numbers)}")

    return make


@pytest.fixture(name="until")
def until_fixture():
    return eventually
