"""Retries of runs, at `/runs/{run_id}/retry`."""

from typing import Annotated

import msgspec

from runstead.commands import retry as commands
from runstead.core import limits
from runstead.http.arguments import from_body, scoped
from runstead.http.bounds import line
from runstead.http.create_bodies import JsonValue, Labels
from runstead.http.framework.endpoint import Call, Reply, Routes
from runstead.http.framework.values import JsonObject, Text, bounded, json_object, json_value
from runstead.http.runs import MISSING, Created, InProject, created

routes = Routes("Runs")

FromStep = Annotated[
    str,
    line(
        limits.step_id_chars_max,
        "The id of a step, as in `stepId` of its STEP_STARTED event. `failed`: the step that failed the run,"
        " or else the first one without a result.",
    ),
]


class RetryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the new run has in place of the old run's members. The body is optional.

    With `from_step` the new run goes on from that step, with the results of the steps before.
    """

    from_step: FromStep | None = None
    input: JsonValue = msgspec.UNSET
    config: JsonObject | None = None
    title: Text | None = None
    labels: Labels | None = None


@routes.route(
    "POST",
    "/runs/{run_id}/retry",
    body=RetryRun,
    query=InProject,
    answer=Created,
    status=202,
    errors=(
        *MISSING,
        "RUN_NOT_TERMINAL",
        "STEP_NOT_FOUND",
        "RETRY_TOO_LARGE",
        "PARENT_CANCELLED",
        "QUOTA_REACHED",
        "REQUEST_SNAPSHOT_TOO_LARGE",
        "STORE_BUSY",
        "STORE_UNAVAILABLE",
    ),
    location="/runs/{run.run_id}",
    new_work=True,
)
async def retry(call: Call[RetryRun, InProject]) -> Reply:
    """Create a new run with the request of an ended run; `retry_of` names that run.

    `retry_from` names the step from which it goes on.
    """
    body = call.body
    changes = from_body(
        commands.Changes,
        body,
        input=bounded("input", json_value(body.input), limits.run_input_bytes_max),
        config=bounded("config", json_object(body.config), limits.run_config_bytes_max),
        labels=json_object(body.labels),
    )
    project = call.query.project
    return await call.idempotent(
        lambda record: commands.retry(*scoped(call), project, changes, record), created
    )
