"""Tokens that allow to append the events of one run."""

import msgspec

from runstead.commands import run_tokens as commands
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
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
