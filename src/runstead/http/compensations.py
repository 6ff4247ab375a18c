"""Compensations of a run: registered, and listed."""

from typing import Annotated

import msgspec

from runstead.commands import compensations as commands
from runstead.core import limits
from runstead.core.runs.compensation import Compensation, compensation_run_id
from runstead.core.runs.run import Run
from runstead.http.answers import answer_of
from runstead.http.arguments import on_run
from runstead.http.bounds import text
from runstead.http.create_bodies import JsonValue
from runstead.http.framework import values
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import IdempotencyKey, JsonObject, Positive, Text
from runstead.http.framework.views import Timestamp, view_of
from runstead.http.runs import MISSING, WRITE, InProject, fence
from runstead.ports.store import Written

routes = Routes("Runs")


class RegisterCompensation(msgspec.Struct, frozen=True, kw_only=True):
    """A run to create if this one fails or is cancelled.

    A repeat with the same `idempotency_key` registers nothing, and its config and input are dropped.
    """

    target: Annotated[str, text(limits.target_chars_max, pattern=values.WORK_TARGET)]
    config: JsonObject | None = None
    input: JsonValue = msgspec.UNSET
    title: Text | None = None
    idempotency_key: IdempotencyKey | None = None
    attempt: Positive | None = None


class CompensationView(msgspec.Struct, frozen=True):
    """A compensation. `number` counts those of the run. `run_id` is its run, null while the run has not ended."""

    number: int
    target: str
    title: str | None
    created_at: Timestamp
    run_id: str | None


CompensationAnswer = answer_of("CompensationAnswer", compensation=CompensationView, duplicate=bool)
CompensationList = answer_of("CompensationList", data=list[CompensationView])


@routes.route(
    "POST",
    "/runs/{run_id}/compensations",
    body=RegisterCompensation,
    query=InProject,
    answer=CompensationAnswer,
    status=201,
    errors=(*WRITE, "RUN_NOT_ACTIVE", "COMPENSATIONS_FULL", "FAMILY_TOO_DEEP", "IDEMPOTENCY_KEY_REUSED"),
)
async def register(call: Call[RegisterCompensation, InProject]) -> Reply:
    """Register a run that the server creates if this one fails or is cancelled, last registered first."""
    body = call.body
    new = commands.NewCompensation(
        target=body.target,
        title=body.title,
        config=values.bounded("config", values.json_object(body.config), limits.run_config_bytes_max),
        input=values.bounded("input", values.json_value(body.input), limits.run_input_bytes_max),
        key=body.idempotency_key,
    )
    proof = fence(call, body.attempt)

    def answer(written: Written) -> Reply:
        compensation = written.transition.compensation
        assert compensation is not None
        view = _view(written.run, compensation)
        return Reply(201, CompensationAnswer(view, written.transition.duplicate))

    return await call.idempotent(lambda record: commands.register(*on_run(call), new, proof, record), answer)


@routes.route("GET", "/runs/{run_id}/compensations", query=InProject, answer=CompensationList, errors=MISSING)
async def compensations(call: Call[Nothing, InProject]) -> Reply:
    """List the compensations of a run in the order of their registration, at most 100."""
    run, found = await commands.of_run(*on_run(call))
    return Reply(200, CompensationList([_view(run, each) for each in found]))


def _view(run: Run, compensation: Compensation) -> CompensationView:
    created = compensation.child_seq is not None
    run_id = compensation_run_id(run.uid, compensation.number) if created else None
    return view_of(CompensationView, compensation, run_id=run_id)
