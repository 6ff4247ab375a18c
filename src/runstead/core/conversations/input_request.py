"""Input requests: a run asks a person or a program to fill in a form, and waits for the response."""

from typing import Literal

import msgspec
from msgspec.structs import replace

InputStatus = Literal["open", "submitted", "cancelled", "expired"]
ResponderType = Literal["human", "agent", "system"]


class InputResponse(msgspec.Struct, frozen=True):
    """A submitted form. `values` is a JSON object in which the values of secret fields are null. `withheld`
    is a JSON array with the names of the secret fields that had a value. `digest` identifies the values if
    they are sent again. `secrets` are the encrypted values of these fields; None also where they were not loaded.
    """

    id: str
    actor_type: str
    actor_id: str
    values: bytes
    withheld: bytes
    digest: bytes
    created_at: int
    secrets: str | None = None


class InputRequest(msgspec.Struct, frozen=True):
    """One request as it is stored, with its latest response. `fields` is a JSON array (see `form.FormField`).

    A run has at most one open request, and at most one request for each tool call. `ended_at` is when the
    request was closed. `salt` goes into the digest of a response. `seq` is the order of creation, 0 before it
    is stored.
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
        """Whether `other` repeats this request, for example after the answer was lost."""

        def content(request: InputRequest) -> tuple[object, ...]:
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

        return content(self) == content(other)


class ClosedInput(msgspec.Struct, frozen=True):
    """The end of the open request that a run waited for, with the response if there is one. `at` in ms."""

    id: str
    status: InputStatus
    at: int
    response: InputResponse | None = None

    def applied(self, request: InputRequest) -> InputRequest:
        """Return the closed request."""
        assert request.status == "open"
        assert request.id == self.id
        return replace(request, status=self.status, ended_at=self.at, response=self.response)
