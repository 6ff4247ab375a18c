"""A run's family and its attempts."""

import msgspec

from runstead.commands import runs as commands
from runstead.core.clock import iso_or_none
from runstead.core.runs.run import Run
from runstead.core.runs.transition import attempts_of
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.run_view import Json, RunView, Timestamp, raw, run_view
from runstead.http.runs import MISSING, InProject, run_ref

routes = Routes("Families")


class RunList(msgspec.Struct, frozen=True):
    data: list[RunView]


def run_list(found: list[Run]) -> Reply:
    return Reply(200, RunList([run_view(run) for run in found]))


@routes.route("GET", "/runs/{run_id}/children", query=InProject, answer=RunList, errors=MISSING)
async def children(call: Call[Nothing, InProject]) -> Reply:
    """List the direct children of a run, oldest first."""
    return run_list(await commands.children(call.app, call.principal, run_ref(call)))


@routes.route("GET", "/runs/{run_id}/tree", query=InProject, answer=RunList, errors=MISSING)
async def tree(call: Call[Nothing, InProject]) -> Reply:
    """List the whole family of a run from its root, oldest first. `parent_run_id` gives the tree."""
    return run_list(await commands.tree(call.app, call.principal, run_ref(call)))


class AttemptView(msgspec.Struct, frozen=True):
    """An attempt of a run.

    `outcome`: running, completed, failed, cancelled, lease_expired, released, timeout, parked, paused or
    dispatch_failed (the dispatch to the push service failed).
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
    """List the attempts of a run and their outcomes, oldest first."""
    run, ended = await commands.attempts(call.app, call.principal, run_ref(call))
    data = [
        AttemptView(
            attempt=attempt.attempt,
            lease_owner=attempt.lease_owner,
            started_at=iso_or_none(attempt.started_at),
            ended_at=iso_or_none(attempt.ended_at),
            outcome=attempt.outcome,
            error=raw(attempt.error),
        )
        for attempt in attempts_of(run, ended)
    ]
    return Reply(200, AttemptList(data))
