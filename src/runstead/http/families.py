"""A run's family and attempts: what belongs to one run."""

import msgspec

from runstead.commands import runs as commands
from runstead.core.clock import iso_or_none
from runstead.core.runs.run import Run
from runstead.core.runs.transition import attempts_of
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.run_view import Json, RunView, Timestamp, raw, run_view
from runstead.http.runs import MISSING, InProject, named

routes = Routes("Families")


class RunList(msgspec.Struct, frozen=True):
    data: list[RunView]


def run_list(found: list[Run]) -> Reply:
    return Reply(200, RunList([run_view(run) for run in found]))


@routes.route("GET", "/runs/{run_id}/children", query=InProject, answer=RunList, errors=MISSING)
async def children(call: Call[Nothing, InProject]) -> Reply:
    """The direct children of a run, oldest first."""
    return run_list(await commands.children(call.app, call.principal, named(call)))


@routes.route("GET", "/runs/{run_id}/tree", query=InProject, answer=RunList, errors=MISSING)
async def tree(call: Call[Nothing, InProject]) -> Reply:
    """The whole family of a run from its root, oldest first; `parent_run_id` tells the shape."""
    return run_list(await commands.tree(call.app, call.principal, named(call)))


class AttemptView(msgspec.Struct, frozen=True):
    """One attempt. `outcome`: running, completed, failed, cancelled, lease_expired, released, timeout, parked, paused or
    dispatch_failed (it could not be handed to its push service).
    """

    attempt: int
    lease_owner: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    outcome: str
    error: Json


class AttemptList(msgspec.Struct, frozen=True):
    data: list[AttemptView]


@routes.route("GET", "/runs/{run_id}/attempts", query=InProject, answer=AttemptList, errors=MISSING)
async def attempts(call: Call[Nothing, InProject]) -> Reply:
    """Every claim of the run, oldest first, and how each ended."""
    run, ended = await commands.attempts(call.app, call.principal, named(call))
    data = [
        AttemptView(
            attempt=one.attempt,
            lease_owner=one.lease_owner,
            started_at=iso_or_none(one.started_at),
            ended_at=iso_or_none(one.ended_at),
            outcome=one.outcome,
            error=raw(one.error),
        )
        for one in attempts_of(run, ended)
    ]
    return Reply(200, AttemptList(data))
