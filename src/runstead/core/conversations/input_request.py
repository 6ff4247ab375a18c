"""Input requests: a run asks somebody to fill in a form, and waits until that is done."""

from typing import Literal

import msgspec
from msgspec.structs import replace

InputStatus = Literal["open", "submitted", "cancelled", "expired"]
ResponderType = Literal["human", "agent", "system"]


class InputResponse(msgspec.Struct, frozen=True):
    """What was filled in. `values` is a JSON object in which the values of secret fields are null; `withheld` a JSON
    array of the names whose values came and were dropped. `digest` recognises the same values when they come again.
    """

    id: str
    actor_type: str
    actor_id: str
    values: bytes
    withheld: bytes
    digest: bytes
    created_at: int


class InputRequest(msgspec.Struct, frozen=True):
    """One request as it is stored, with its latest response. `fields` is a JSON array (see `form.FormField`).

    A run holds at most one open request, and asks for each of its tool calls once. `ended_at` is when it stopped being
    open. `salt` goes into the digest of a response. `seq` is the order of creation, 0 before it is stored.
    """

    id: str
    conversation_id: str
    run_seq: int
    run_id: str
    tool_call_id: str
    requested_responder_type: ResponderType
    title: str
    fields: bytes
    created_at: int
    salt: bytes
    seq: int = 0
    status: InputStatus = "open"
    description: str | None = None
    metadata: bytes | None = None
    created_by: str | None = None
    expires_at: int | None = None
    ended_at: int | None = None
    response: InputResponse | None = None

    def asks_the_same(self, other: "InputRequest") -> bool:
        """Whether both were asked in the same words: a repeat of the request after a lost answer."""

        def words(request: InputRequest) -> tuple[object, ...]:
            return (
                request.run_seq,
                request.tool_call_id,
                request.requested_responder_type,
                request.title,
                request.description,
                request.fields,
                request.metadata,
                request.expires_at,
            )

        return words(self) == words(other)


class ClosedInput(msgspec.Struct, frozen=True):
    """That the open request which held a run is over, and with which response."""

    id: str
    status: InputStatus
    at: int
    response: InputResponse | None = None

    def applied(self, request: InputRequest) -> InputRequest:
        """The request as this leaves it."""
        assert request.status == "open"
        assert request.id == self.id
        return replace(request, status=self.status, ended_at=self.at, response=self.response)
