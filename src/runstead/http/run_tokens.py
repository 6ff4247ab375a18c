"""Tokens of one run, to append its events or to read it; and of one conversation, to read it."""

from typing import Annotated

import msgspec

from runstead.commands import run_tokens as commands
from runstead.core import limits
from runstead.core.clock import iso
from runstead.http.answers import answer_of
from runstead.http.arguments import scoped
from runstead.http.bounds import between
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.views import Timestamp
from runstead.http.runs import MISSING, InProject

routes = Routes("Events")


class RunEventToken(msgspec.Struct, frozen=True):
    """A JWT, valid for a day.

    It allows to append events to that run, and to get such tokens for its children.
    """

    run_event_token: str


@routes.route(
    "POST",
    "/runs/{run_id}/children/{child_run_id}/event-writer-token",
    query=InProject,
    answer=RunEventToken,
    keyed=False,
    errors=(*MISSING, "RUN_NOT_ACTIVE", "ENCRYPTION_KEY_MISSING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def child_token(call: Call[Nothing, InProject]) -> Reply:
    """Get a token for appending the events of a direct child.

    Each call returns a new token; none is stored.
    """
    path = call.path
    token = await commands.for_child(
        call.app, call.principal, path["run_id"], path["child_run_id"], call.query.project
    )
    return Reply(200, RunEventToken(token), {"Cache-Control": "no-store"})


class CreateAccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """With `family`, the token also reads the run's descendants."""

    expires_in_seconds: Annotated[int, between(1, limits.run_token_s)]
    family: bool = False


AccessToken = answer_of("AccessToken", token=str, expires_at=Timestamp)


@routes.route(
    "POST",
    "/runs/{run_id}/access-tokens",
    body=CreateAccessToken,
    query=InProject,
    answer=AccessToken,
    status=201,
    keyed=False,
    errors=(*MISSING, "ENCRYPTION_KEY_MISSING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def access_token(call: Call[CreateAccessToken, InProject]) -> Reply:
    """Get a token for a browser: it reads this run, its events and its stream, and nothing else.

    Each call returns a new token; none is stored. It is valid while its issuer may read the project.
    """
    body = call.body
    token, expires_at = await commands.for_reading(
        call.app,
        call.principal,
        call.path["run_id"],
        call.query.project,
        expires_in_s=body.expires_in_seconds,
        family=body.family,
    )
    return Reply(201, AccessToken(token, iso(expires_at)), {"Cache-Control": "no-store"})


class CreateConversationToken(msgspec.Struct, frozen=True, kw_only=True):
    expires_in_seconds: Annotated[int, between(1, limits.run_token_s)]


@routes.route(
    "POST",
    "/conversations/{conversation_id}/access-tokens",
    body=CreateConversationToken,
    answer=AccessToken,
    status=201,
    keyed=False,
    errors=("NOT_FOUND", "ENCRYPTION_KEY_MISSING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def conversation_token(call: Call[CreateConversationToken, Nothing]) -> Reply:
    """Get a token for a browser: it reads this conversation, its messages, and its runs with their events and streams.

    It reads nothing else. Each call returns a new token; none is stored. It is valid while its issuer may read the
    project.
    """
    token, expires_at = await commands.for_reading_conversation(
        *scoped(call), expires_in_s=call.body.expires_in_seconds
    )
    return Reply(201, AccessToken(token, iso(expires_at)), {"Cache-Control": "no-store"})
