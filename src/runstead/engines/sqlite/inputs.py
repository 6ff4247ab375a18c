"""Input requests in SQLite: written with their run, read on their own."""

import sqlite3
from typing import Any

from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.errors import not_found
from runstead.core.runs.transition import Want
from runstead.engines.sql.columns import from_closed, from_request, to_request
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.sql import Q


def load_input(connection: sqlite3.Connection, run_seq: int, want: Want) -> InputRequest | None:
    """The request that a decision about this run wants to see."""
    row = None
    if want.input_request_id is not None:
        row = connection.execute(Q["input_request"], (want.input_request_id,)).fetchone()
    elif want.input_call is not None:
        row = connection.execute(Q["input_request_of_call"], (run_seq, want.input_call)).fetchone()
    found = None if row is None else to_request(row)
    return found if found is not None and found.run_seq == run_seq else None


def add_input(connection: sqlite3.Connection, request: InputRequest) -> None:
    if connection.execute(Q["conversation_lives"], (request.conversation_id,)).fetchone() is None:
        raise not_found("Conversation")
    connection.execute(Q["add_input_request"], from_request(request))


def close_input(connection: sqlite3.Connection, closed: ClosedInput) -> None:
    written = connection.execute(Q["close_input_request"], from_closed(closed)).rowcount
    assert written == 1, f"input request {closed.id} was not open"


class SqliteInputs:
    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def get(self, request_id: str) -> InputRequest | None:
        found = await self._many("input_request", (request_id,))
        return found[0] if found else None

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> list[InputRequest]:
        last = 1 << 62 if before is None else before
        return await self._many("input_requests_page", (conversation_id, status, last, limit))

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        return await self._many("input_requests_of_run", (run_seq, limit))

    async def _many(self, query: str, arguments: tuple[Any, ...]) -> list[InputRequest]:
        return await self._readers.do(lambda c: [to_request(row) for row in c.execute(Q[query], arguments)])
