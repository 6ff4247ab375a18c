"""Input requests in memory: written with their run, read on their own."""

from msgspec.structs import replace

from runstead.core.conversations.input_request import InputRequest
from runstead.core.runs.transition import Want
from runstead.ports.store import InputRequests, ListPage
from tests.support.model.rows import Rows


def find_input(rows: Rows, run_seq: int, want: Want) -> InputRequest | None:
    """The request that a decision about this run wants to see."""
    if want.input_request_id is not None:
        found = rows.inputs.get(want.input_request_id)
        if want.input_secrets and found is not None and found.response is not None:
            secrets = rows.input_secrets.get(found.id)
            found = replace(found, response=replace(found.response, secrets=secrets))
        return found if found is not None and found.run_seq == run_seq else None
    asked = (one for one in rows.inputs.values() if one.run_seq == run_seq)
    return next((one for one in asked if one.tool_call_id == want.input_call), None)


class ModelInputs(InputRequests):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def get(self, request_id: str) -> InputRequest | None:
        return self._rows.inputs.get(request_id)

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> ListPage[InputRequest]:
        found = [
            one
            for one in reversed(self._rows.inputs.values())
            if one.conversation_id == conversation_id
            and status in (None, one.status)
            and (before is None or one.seq < before)
        ]
        return ListPage(found[:limit], len(found) > limit)

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        found = [one for one in reversed(self._rows.inputs.values()) if one.run_seq == run_seq]
        return found[:limit]
