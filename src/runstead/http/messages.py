"""Messages: `/conversations/{conversation_id}/messages`."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from runstead.commands import messages as commands
from runstead.commands.projections import Projected
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.conversations.conversation import MessageRun, Role, StoredMessage
from runstead.core.conversations.projection import MessageStatus
from runstead.core.identity.principal import for_reading
from runstead.http.answers import answer_of
from runstead.http.arguments import from_body, scoped
from runstead.http.conversations import NumberedPage
from runstead.http.framework import values
from runstead.http.framework.body import invalid
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import IdempotencyKey, JsonObject, Name, PageInfo
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of
from runstead.ports.store import ListPage

routes = Routes("Messages")

_MESSAGES = "/conversations/{conversation_id}/messages"


#: The schema of a message part in requests and answers.
PART: Final = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}


class AddMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A user's message. A part is an object with a string `type`; other members are kept unchanged."""

    role: Literal["user"]
    parts: Annotated[list[JsonObject], Meta(min_length=1, max_length=limits.message_parts_max)]
    parent_id: Name | None = None
    idempotency_key: IdempotencyKey | None = None
    metadata: JsonObject | None = None


class TokenUsage(msgspec.Struct, frozen=True):
    """The numbers of input and output tokens."""

    input: int
    output: int


_Parts = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array", "items": PART})]


class MessageView(msgspec.Struct, frozen=True):
    """A message. An assistant's message is computed from the events of its run.

    `run_id` and `truncated` are extensions of Runstead. `truncated`: the run's log is longer than the part
    that a message reads, so the last parts are missing.
    """

    id: str
    conversation_id: str
    seq: int
    role: Role
    parts: _Parts
    status: MessageStatus
    parent_id: str | None
    created_by: str | None
    model: str | None
    token_usage: TokenUsage | None
    finish_reason: str | None
    edited_at: Timestamp | None
    idempotency_key: str | None
    metadata: JsonObjectOrNull
    created_at: Timestamp
    updated_at: Timestamp
    run_id: str | None
    truncated: bool


class _Usage(msgspec.Struct, frozen=True):
    model: str | None = None
    finishReason: str | None = None  # noqa: N815 - the wire's names
    inputTokens: int | None = None  # noqa: N815
    outputTokens: int | None = None  # noqa: N815


_usage = msgspec.json.Decoder(_Usage)
_NO_PARTS = msgspec.Raw(b"[]")


def view(
    message: StoredMessage, run: MessageRun | None = None, projected: Projected | None = None
) -> MessageView:
    usage = _Usage() if run is None or run.metadata is None else _usage.decode(run.metadata)
    tokens = (usage.inputTokens, usage.outputTokens)
    parts = message.parts if projected is None else projected.parts
    return view_of(
        MessageView,
        message,
        parts=_NO_PARTS if parts is None else msgspec.Raw(parts),
        status="completed" if projected is None else projected.status,
        model=usage.model,
        token_usage=None if tokens == (None, None) else TokenUsage(tokens[0] or 0, tokens[1] or 0),
        finish_reason=usage.finishReason,
        edited_at=None,
        updated_at=iso(message.updated_at if run is None else run.updated_at),
        run_id=None if run is None else run.run_id,
        truncated=projected is not None and projected.truncated,
    )


@routes.route("POST", _MESSAGES, body=AddMessage, answer=MessageView, status=201, errors=CHANGE)
async def add(call: Call[AddMessage, Nothing]) -> Reply:
    """Add a user's message. A repeat with the same `idempotency_key` returns the stored message."""
    body = call.body
    for index, part in enumerate(body.parts):
        if not isinstance(part.get("type"), str):
            raise invalid(f"Object missing required field `type` - at `$.parts[{index}]`")
    parts, metadata = msgspec.json.encode(body.parts), values.json_object(body.metadata)
    new = from_body(commands.NewMessage, body, parts=parts, metadata=metadata)
    return await call.idempotent(
        lambda record: commands.add(*scoped(call), new, record), lambda stored: Reply(201, view(stored))
    )


MessagePage = answer_of("MessagePage", conversation_id=str, data=list[MessageView], page_info=PageInfo)


@routes.route("GET", _MESSAGES, query=NumberedPage, answer=MessagePage, errors=LOOKUP)
async def page(call: Call[Nothing, NumberedPage]) -> Reply:
    """List a conversation's messages, oldest first. A page of large messages may be shorter than `limit`."""
    conversation_id, query = call.path["conversation_id"], call.query
    shown, more = await commands.page(
        call.app,
        for_reading(call.principal, "conversation_reader"),
        conversation_id,
        query.cursor or 0,
        query.limit,
    )
    found = fitted(ListPage(shown, more), lambda row: view(row[0].message, row[0].run, row[1]))
    answer = paged(found, query.cursor, lambda last: last[0].message.seq)
    return Reply(200, {"conversation_id": conversation_id, **answer})
