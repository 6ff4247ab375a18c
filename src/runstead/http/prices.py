"""Prices of models and usage: `/projects/{project}/prices` and `/projects/{project}/usage`."""

from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runstead.commands import prices as commands, usage_report
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.usage.price import Price
from runstead.core.usage.report import By, Group
from runstead.core.usage.rollup import QUARTER
from runstead.http.answers import answer_of, list_of
from runstead.http.arguments import scoped
from runstead.http.bounds import between
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import CursorQuery, listed, position_by_name, rows_after
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Moment, Name, moment_ms
from runstead.http.framework.views import Timestamp, view_of
from runstead.http.records import ModelUsage, token_members

routes = Routes("Usage")

_PRICES = "/projects/{project}/prices"

_period_ms_default = 30 * 86_400_000
Rate = Annotated[
    int, between(0, limits.price_max, "Millionths of your currency per million tokens: 2500000 is 2.50.")
]


class PutPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a model's tokens.

    The model `*` sets the price of the provider's models without an own price.

    If left out, `cached` costs as much as `input`, and `reasoning` as much as `output`.
    """

    provider: Name
    model: Name
    input: Rate
    output: Rate
    cached: Rate | None = None
    reasoning: Rate | None = None


class PriceView(msgspec.Struct, frozen=True):
    """A price, in millionths of your currency per million tokens."""

    provider: str
    model: str
    input: int
    output: int
    cached: int | None
    reasoning: int | None
    updated_at: Timestamp


PriceAnswer = answer_of("PriceAnswer", price=PriceView)
PriceList = list_of("PriceList", PriceView, "prices")


class OfModel(msgspec.Struct, frozen=True, kw_only=True):
    """The provider and model of the price."""

    provider: Name
    model: Name


DeletedPrice = answer_of("DeletedPrice", deleted=Literal[True], provider=str, model=str)
_view = partial(view_of, PriceView)


@routes.route("GET", _PRICES, query=CursorQuery, answer=PriceList, errors=LOOKUP)
async def page(call: Call[Nothing, CursorQuery]) -> Reply:
    """List the project's prices by provider and model."""
    cursor = call.query.cursor
    found = await commands.page(*scoped(call))
    rest = rows_after(found, _position, position_by_name(cursor))
    return Reply(200, listed(rest, _view, _position, cursor))


def _position(price: Price) -> tuple[str, str]:
    return price.provider, price.model


@routes.route("PUT", _PRICES, body=PutPrice, answer=PriceAnswer, errors=(*CHANGE, "PRICE_LIMIT_REACHED"))
async def put(call: Call[PutPrice, Nothing]) -> Reply:
    """Set the price of a model. Earlier usage is reported at the new price too. Needs the scope admin."""
    price = await commands.put(*scoped(call), **msgspec.structs.asdict(call.body))
    return Reply(200, PriceAnswer(_view(price)))


@routes.route("DELETE", _PRICES, query=OfModel, answer=DeletedPrice, errors=CHANGE)
async def delete(call: Call[Nothing, OfModel]) -> Reply:
    """Delete the price of a model. Needs the scope admin."""
    provider, model = call.query.provider, call.query.model
    await commands.delete(*scoped(call), provider, model)
    return Reply(200, DeletedPrice(True, provider, model))


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were created from `since` on and before `until`. By default the last 30 days.

    `until` is by default the end of the current quarter hour.
    """

    by: By = "model"
    since: Moment | None = None
    until: Moment | None = None


class PricedUsage(ModelUsage, frozen=True):
    """The usage of a model. Provider and model are null if the completions named none.

    `cost_micros` is in millionths of your currency, null without a price.
    """

    cost_micros: int | None


class UsageGroup(msgspec.Struct, frozen=True):
    """The usage of a group of runs.

    `key` is the model, the target, the schedule's id, the id of the API key or user that created the runs,
    the day (UTC) or the root run's id. `cost_micros` does not include `unpriced_runs`, which used models
    without a price.
    """

    key: str | None
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cost_micros: int
    unpriced_runs: int
    models: Annotated[list[PricedUsage], Meta(description="Most tokens first, at most 1,000.")]


class ProjectUsage(msgspec.Struct, frozen=True):
    """The usage of a project in a period. `runs_looked_at` is the number of runs that were created in it.

    `truncated` is true only for a while after the upgrade of a store without usage sums: until the sums are
    complete, only the newest 100,000 runs that are not summed yet are counted.
    """

    by: By
    since: Timestamp
    until: Timestamp
    groups: Annotated[
        list[UsageGroup], Meta(description="Days newest first, other groups by most tokens; at most 1,000.")
    ]
    groups_left_out: int
    total: UsageGroup
    runs_looked_at: int
    truncated: bool


def _group(group: Group) -> UsageGroup:
    models = [view_of(PricedUsage, line, **token_members(line.tokens)) for line in group.lines]
    return view_of(UsageGroup, group, **token_members(group.tokens), models=models)


@routes.route("GET", "/projects/{project}/usage", query=UsageFilter, answer=ProjectUsage, errors=LOOKUP)
async def usage(call: Call[Nothing, UsageFilter]) -> Reply:
    """Report the usage of the project's runs and its cost at current prices."""
    query = call.query
    until = moment_ms("until", query.until)
    until = (now_ms() // QUARTER + 1) * QUARTER if until is None else until
    since = moment_ms("since", query.since)
    since = max(until - _period_ms_default, 0) if since is None else since
    found = await usage_report.report(*scoped(call), since, until, query.by)
    return Reply(
        200,
        view_of(
            ProjectUsage,
            found,
            groups=[_group(group) for group in found.groups],
            total=_group(found.total),
            runs_looked_at=found.runs,
        ),
    )
