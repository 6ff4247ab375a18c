"""Limits on connections, in total and per address, and which ones a full server closes."""

import asyncio

import pytest

from runstead.core import limits
from runstead.http.framework.connections import Bounds, bounds
from runstead.ports import metrics

from .wire import HEALTH, Wires, answers, sent, status_of


async def test_an_address_has_a_connection_limit_and_others_are_admitted(driver):
    wires = Wires(driver.http_app, given=Bounds(100, 2, 16))
    busy = [wires.open("192.0.2.7") for _ in range(2)]
    for protocol in busy:
        protocol.flow.pause_writing()  # their answers cannot be sent, so they stay open
        protocol.data_received(HEALTH)
    refused = wires.open("192.0.2.7")
    assert answers(refused) == [429]
    assert b"ADDRESS_LIMIT_REACHED" in sent(refused)
    assert b"retry-after: 1\r\n" in sent(refused)
    other = wires.open("192.0.2.8")
    other.data_received(HEALTH)
    await driver.until(lambda: answers(other) == [200])
    for protocol in busy:
        protocol.flow.resume_writing()
    await wires.settle()


async def test_a_full_server_refuses_with_an_error(driver):
    wires = Wires(driver.http_app, given=Bounds(2, 2, 16))
    busy = [wires.open(f"192.0.2.{n}") for n in range(2)]
    for protocol in busy:
        protocol.flow.pause_writing()
        protocol.data_received(HEALTH)
    refused = wires.open("192.0.2.9")
    assert answers(refused) == [503]
    assert b"CONNECTION_LIMIT_REACHED" in sent(refused)
    refused.data_received(HEALTH)  # sent before it read the error
    assert answers(refused) == [503]
    for protocol in busy:
        protocol.flow.resume_writing()
    await wires.settle()
    assert [answers(protocol) for protocol in busy] == [[200], [200]]


async def test_a_full_server_closes_idle_connections(driver):
    wires = Wires(driver.http_app, given=Bounds(3, 3, 16))
    idle = wires.open()
    await wires.ask(HEALTH, idle)
    silent, young = wires.open(), wires.open()
    assert status_of(await wires.ask(HEALTH)) == 200
    assert [one.transport.closing for one in (silent, young, idle)] == [True, False, False]
    for _ in range(10):
        assert status_of(await wires.ask(HEALTH)) == 200


async def test_closed_connections_are_not_counted(driver):
    wires = Wires(driver.http_app, given=Bounds(2, 2, 16))
    before = metrics.connections._value.get()
    for _ in range(5):
        protocol = wires.open()
        assert metrics.connections._value.get() == before + 1
        protocol.transport.close()
        await asyncio.sleep(0)
    assert metrics.connections._value.get() == before


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_addresses_of_one_network_count_together(driver, first, second, same):
    wires = Wires(driver.http_app, given=Bounds(100, 1, 16))
    busy = wires.open(first)
    busy.flow.pause_writing()
    busy.data_received(HEALTH)
    assert answers(wires.open(second)) == ([429] if same else [])
    busy.flow.resume_writing()
    await wires.settle()


@pytest.mark.parametrize(
    ("files", "total", "backlog"),
    [
        (256, 192, 32),
        (1_024, 768, 128),
        (20_000, 17_952, 1_024),
        (1_000_000, limits.connections_max, limits.backlog_max),
    ],
)
def test_the_limit_on_open_files_bounds_connections(monkeypatch, files, total, backlog):
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    assert bounds() == (total, total // 2, backlog)
    assert bounds(10, 4)[:2] == (10, 4)
    assert bounds(10, 40)[:2] == (10, 10)
    assert bounds(2 * files)[0] == files - min(files // 4, limits.files_kept_max)
