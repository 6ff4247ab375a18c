"""A run's named values."""

import msgspec

from runstead.commands import values as commands
from runstead.core.runs.values import ValueName
from runstead.http.answers import answer_of
from runstead.http.arguments import on_run
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.views import Json, Timestamp, view_of
from runstead.http.runs import MISSING, InProject

routes = Routes("Runs")


class ValueFilter(InProject, frozen=True, kw_only=True):
    name: ValueName | None = None


class ValueView(msgspec.Struct, frozen=True):
    """A named value, the event that set it last, and when."""

    name: str
    value: Json
    event_id: int
    updated_at: Timestamp


Values = answer_of("Values", data=list[ValueView])


@routes.route("GET", "/runs/{run_id}/values", query=ValueFilter, answer=Values, errors=MISSING)
async def values(call: Call[Nothing, ValueFilter]) -> Reply:
    """List the named values that a run's worker has set, at any time, also after the run's end."""
    found = await commands.of_run(*on_run(call), call.query.name)
    return Reply(200, Values([view_of(ValueView, one) for one in found]))
