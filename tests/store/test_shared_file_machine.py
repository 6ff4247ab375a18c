"""The random commands of the state machine, given by turns to two servers over one SQLite file, some of them in a group that
is rolled back and tried again one by one: what each server knows of the file without reading it is never stale.
"""

import asyncio

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.store import SqliteStore
from tests.support.examples import examples
from tests.support.store_driver import StoreDriver

from .test_machine import SETTINGS, StoreMachine


@pytest.fixture
def engine():
    return "sqlite"


class SharedFileMachine(StoreMachine):
    def __init__(self, drivers):
        super().__init__(drivers)
        other = SqliteStore(self.tested.store._path, self.clock, "OFF")
        self.runner.run(other.open())
        self.servers = [self.tested, StoreDriver(other, self.clock)]
        self.breaks = False

    @rule(server=st.integers(0, 1))
    def turn_to(self, server):
        self.tested = self.servers[server]

    @rule()
    def let_the_next_commands_group_break(self):
        self.breaks = True

    def both(self, command):
        async def in_company(driver):
            if driver is self.model or not self.breaks:
                return await command(driver)
            self.breaks = False
            outcome, broken = await asyncio.gather(
                command(driver), driver.store._writer.do(breaking, quick=True), return_exceptions=True
            )
            assert isinstance(broken, ZeroDivisionError)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return super().both(in_company)

    def close(self):
        for driver in self.servers:
            self.runner.run(driver.store.close())
        super().close()


def breaking(connection, _now):
    connection.execute("UPDATE pulse SET at = 1")
    raise ZeroDivisionError


@pytest.mark.timeout(300)
def test_servers_over_one_file_and_groups_that_break_do_what_the_model_does(drivers, monkeypatch):
    known = {True: 0, False: 0}
    get = WriterCache.get

    def counting(self, key):
        found = get(self, key)
        known[found is not None] += 1
        return found

    monkeypatch.setattr(WriterCache, "get", counting)
    some = settings(SETTINGS, max_examples=examples(60))
    run_state_machine_as_test(lambda: SharedFileMachine(drivers), settings=some)
    assert min(known.values()) > 100, known
