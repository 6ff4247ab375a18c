"""Input requests in PostgreSQL: written with their run, read on their own."""

from typing import Any

from runstead.core import limits
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs.transition import Want
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.columns import from_closed, from_request, to_request


async def load_input(connection: Connection, run_seq: int, want: Want) -> InputRequest | None:
    """The request that a decision about this run wants to see. It changes with its run only, which is locked."""
    row = None
    if want.input_request_id is not None:
        row = await connection.fetchrow(Q["input_request"], want.input_request_id)
    elif want.input_call is not None:
        row = await connection.fetchrow(Q["input_request_of_call"], run_seq, want.input_call)
    found = None if row is None else to_request(row)
    return found if found is not None and found.run_seq == run_seq else None


async def add_input(connection: Connection, request: InputRequest) -> None:
    """Its conversation is locked, and lives."""
    await connection.execute(Q["add_input_request"], *from_request(request))


async def close_input(connection: Connection, closed: ClosedInput) -> None:
    written = await connection.execute(Q["close_input_request"], *from_closed(closed))
    assert written == "UPDATE 1", f"input request {closed.id} was not open"


class PostgresInputs:
    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def get(self, request_id: str) -> InputRequest | None:
        found = await self._many("input_request", request_id)
        return found[0] if found else None

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> list[InputRequest]:
        last = limits.integer_max if before is None else before
        return await self._many("input_requests_page", conversation_id, status, last, limit)

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        return await self._many("input_requests_of_run", run_seq, limit)

    async def _many(self, query: str, *arguments: Any) -> list[InputRequest]:
        return [to_request(row) for row in await self._readers.rows(Q[query], *arguments)]
