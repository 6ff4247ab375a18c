"""Input requests: written in the transaction of their run, read on their own."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.input_request import ClosedInput, InputRequest, InputResponse
from runstead.core.runs.transition import Want
from runstead.engines.sql.methods import SqlNoun
from runstead.engines.sql.steps import Steps, execute, select_page, select_rows, value
from runstead.ports.store import ListPage

#: The columns of a response, by its fields.
RESPONSE: Final = {
    "id": "response_id",
    "actor_type": "actor_type",
    "actor_id": "actor_id",
    "values": "response_values",
    "withheld": "withheld",
    "digest": "digest",
    "created_at": "responded_at",
}


class SqlInputs(SqlNoun):
    async def get(self, request_id: str) -> InputRequest | None:
        found = await self._database.read(_select, "input_request", id=request_id)
        return found[0] if found else None

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> ListPage[InputRequest]:
        return await self._database.page(
            _select_page,
            "input_requests_page",
            conversation_id=conversation_id,
            status=status,
            before=limits.integer_max if before is None else before,
            limit=limit,
        )

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        page = await self._database.scan(_select_page, "input_requests_of_run", run_seq=run_seq, limit=limit)
        return page.rows


def load_input(run_seq: int, want: Want) -> Steps[InputRequest | None]:
    """The request that a decision about this run needs. It changes with its run only, which is locked."""
    if want.input_request_id is not None:
        found = yield from _select("input_request", id=want.input_request_id)
    elif want.input_call is not None:
        found = yield from _select("input_request_of_call", run_seq=run_seq, tool_call_id=want.input_call)
    else:
        return None
    if not found or found[0].run_seq != run_seq:
        return None
    request = found[0]
    if want.input_secrets and request.response is not None:
        secrets = yield from value("input_secrets", id=request.id)
        return replace(request, response=replace(request.response, secrets=secrets))
    return request


def add_input(request: InputRequest) -> Steps[None]:
    yield from execute("add_input_request", request)


def close_input(closed: ClosedInput) -> Steps[None]:
    response: dict[str, Any] = {
        column: None if closed.response is None else getattr(closed.response, field)
        for field, column in RESPONSE.items()
    }
    outcome: dict[str, Any] = {"id": closed.id, "status": closed.status, "ended_at": closed.at}
    written = yield from execute("close_input_request", **outcome, **response)
    assert written == 1, f"input request {closed.id} was not open"
    if closed.response is not None and closed.response.secrets is not None:
        yield from execute("add_input_secrets", id=closed.id, secrets=closed.response.secrets)


def erase_secrets(run_seqs: Sequence[int]) -> Steps[None]:
    """Delete the secrets of the input requests of runs that end."""
    yield from execute("erase_input_secrets", run_seqs=run_seqs)


def _select(statement: str, **arguments: Any) -> Steps[list[InputRequest]]:
    rows = yield from select_rows(statement, **arguments)
    return [_request(row) for row in rows]


def _select_page(statement: str, *, limit: int, **arguments: Any) -> Steps[ListPage[InputRequest]]:
    page: ListPage[Any] = yield from select_page(statement, None, limit=limit, **arguments)
    return ListPage([_request(row) for row in page.rows], page.more)


def _request(row: Mapping[str, Any]) -> InputRequest:
    columns = set(RESPONSE.values())
    values = {name: value for name, value in row.items() if name not in columns}
    if row[RESPONSE["id"]] is None:
        return InputRequest(**values)
    return InputRequest(
        **values, response=InputResponse(**{field: row[column] for field, column in RESPONSE.items()})
    )
