"""Loops over SQLite, with clocks that stand still until a test moves them."""

import asyncio

import pytest

from runstead.commands.app import App
from runstead.core.leadership import LeaderState
from runstead.engines.notifiers.local import LocalNotifier
from runstead.loops.leader import Leader
from runstead.testing.store import TemporaryStore

NOON = 1_774_008_000_000


class Clock:
    """Of the store (ms), and of a replica's own seconds: they go on together."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def elapsed(self):
        return self.now / 1_000

    def advance(self, seconds):
        self.now += round(seconds * 1_000)


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
    """new_app(): one replica of those that share the store and its hints."""
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
    """new_leader(): (a replica, what has it lead)"""

    def make():
        app = new_app()
        return app, Leader(app)

    return make


async def until(condition):
    """Wait for what the loop is about to bring about by itself."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of what is waited for, nothing tells
            await asyncio.sleep(0.001)


@pytest.fixture(name="until")
def until_fixture():
    return until
