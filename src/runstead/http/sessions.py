"""Worker sessions: a worker's own identifier of its work on a run."""

from typing import Annotated

import msgspec

from runstead.commands import workers as commands
from runstead.core import limits
from runstead.core.queue.worker import SessionStatus
from runstead.http.answers import answer_of
from runstead.http.arguments import named
from runstead.http.bounds import line
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import JsonObject, json_object
from runstead.http.runs import fence
from runstead.http.worker_run_view import SessionView, session_view

routes = Routes("Workers")


class PutSession(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's own identifier of its work on the run."""

    session_key: Annotated[str, line(limits.session_key_chars_max)]
    status: SessionStatus = "active"
    metadata: JsonObject | None = None


SessionAnswer = answer_of("SessionAnswer", session=SessionView)


@routes.route(
    "PUT",
    "/agent-workers/workers/{worker_id}/runs/{run_id}/session",
    body=PutSession,
    answer=SessionAnswer,
    errors=("NOT_FOUND", "ATTEMPT_SUPERSEDED", "ATTEMPT_REQUIRED", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def put_session(call: Call[PutSession, Nothing]) -> Reply:
    """Store the worker's session of a run. The next attempt gets it."""
    body = call.body
    members = msgspec.structs.asdict(body) | {"metadata": json_object(body.metadata)}
    return await call.idempotent(
        lambda record: commands.put_session(*named(call), members, fence(call), record),
        lambda stored: Reply(200, SessionAnswer(session_view(stored))),
    )
