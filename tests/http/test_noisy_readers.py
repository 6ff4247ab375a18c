"""Callers that send slow queries and hang up: the server stops reading for them, and others are not delayed."""

import asyncio

import pytest

from runstead.core import limits
from runstead.engines.sqlite.runs import SqliteRuns
from tests.support.until import eventually

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def scans(monkeypatch):
    """Every list of runs is a query without end. Returns those that work or wait."""
    found = set()

    async def page(self, _query):
        found.add(asyncio.current_task())
        try:
            return await self._readers.scan(lambda connection: connection.execute(ENDLESS).fetchall())
        finally:
            found.discard(asyncio.current_task())

    monkeypatch.setattr(SqliteRuns, "page", page)
    return found


@pytest.fixture
def patient(monkeypatch):
    """A deadline that no test reaches. Request this fixture before `live`."""
    monkeypatch.setattr(limits, "read_s_max", 600)
    monkeypatch.setattr(limits, "scan_wait_s", 600)


async def send(live, path):
    reader, writer = await asyncio.open_connection(*live.address())
    lines = [f"GET {path} HTTP/1.1", "Host: a"]
    lines += [f"{name}: {value}" for name, value in live.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    return reader, writer


# An encoded character takes the request over ASGI.
@pytest.mark.parametrize("path", ["/runs?label=team:none", "/%72uns?label=team:none"])
async def test_a_query_stops_when_its_caller_hangs_up(patient, live, scans, path):
    callers = [await send(live, path) for _ in range(8)]
    await eventually(lambda: len(scans) == 8)
    for _, writer in callers:
        writer.close()
    await eventually(lambda: not scans)
    assert (await live.client.get(f"{live.url}/projects/default", headers=live.headers)).status_code == 200


async def test_eight_slow_queries_do_not_delay_a_read(patient, live, scans):
    callers = [await send(live, "/runs?label=team:none") for _ in range(8)]
    await eventually(lambda: len(scans) == 8)
    # The headers differ, so that the credential is not cached.
    headers = {**live.headers, "Authorization": live.headers["Authorization"].replace("Bearer", "bearer")}
    assert (await live.client.get(f"{live.url}/projects/default", headers=headers)).status_code == 200
    assert len(scans) == 8
    for _, writer in callers:
        writer.close()


@pytest.fixture
def hasty(monkeypatch):
    """A short deadline. Request this fixture before `live`."""
    monkeypatch.setattr(limits, "read_s_max", 0.2)


async def test_a_query_that_takes_too_long_is_refused(hasty, live, scans):
    response = await live.client.get(f"{live.url}/runs", headers=live.headers)
    assert (response.status_code, response.json()["code"]) == (400, "QUERY_TOO_SLOW")
