"""What models cost, and what a project used: `/projects/{project}/prices` and `/projects/{project}/usage`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runstead.commands import prices as commands, usage_report
from runstead.core import limits
from runstead.core.clock import iso, now_ms
from runstead.core.usage.price import Price
from runstead.core.usage.report import By, Group
from runstead.core.usage.rollup import QUARTER
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Moment, Name, moment_ms
from runstead.http.run_view import Timestamp

routes = Routes("Usage")

_WRITE = ("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE")
_stretch_ms = 30 * 86_400_000
Rate = Annotated[
    int,
    Meta(
        ge=0,
        le=limits.price_max,
        description="In millionths of your currency for a million tokens: 2500000 is 2.50.",
    ),
]


class PutPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tokens cost. The model `*` stands for those of the provider that have no price. Cached input without
    a price costs what input does, reasoning what output does.
    """

    provider: Name
    model: Name
    input: Rate
    output: Rate
    cached: Rate | None = None
    reasoning: Rate | None = None


class PriceView(msgspec.Struct, frozen=True):
    """In millionths of your currency for a million tokens."""

    provider: str
    model: str
    input: int
    output: int
    cached: int | None
    reasoning: int | None
    updated_at: Timestamp


class PriceAnswer(msgspec.Struct, frozen=True):
    price: PriceView


class PriceList(msgspec.Struct, frozen=True):
    data: list[PriceView]


class OfModel(msgspec.Struct, frozen=True, kw_only=True):
    """Which price."""

    provider: Name
    model: Name


class DeletedPrice(msgspec.Struct, frozen=True):
    deleted: Literal[True]
    provider: str
    model: str


def _view(price: Price) -> PriceView:
    return PriceView(
        provider=price.provider,
        model=price.model,
        input=price.input,
        output=price.output,
        cached=price.cached,
        reasoning=price.reasoning,
        updated_at=iso(price.updated_at),
    )


@routes.route("GET", "/projects/{project}/prices", answer=PriceList, errors=("NOT_FOUND",))
async def page(call: Call[Nothing, Nothing]) -> Reply:
    """The project's prices, by provider, then model."""
    found = await commands.page(call.app, call.principal, call.path["project"])
    return Reply(200, PriceList([_view(one) for one in found]))


@routes.route(
    "PUT",
    "/projects/{project}/prices",
    body=PutPrice,
    answer=PriceAnswer,
    errors=(*_WRITE, "PRICE_LIMIT_REACHED"),
)
async def put(call: Call[PutPrice, Nothing]) -> Reply:
    """Set the price of one model. Needs the scope admin. What was used before is told by the new price, too."""
    body = call.body
    price = await commands.put(
        call.app,
        call.principal,
        call.path["project"],
        body.provider,
        body.model,
        input=body.input,
        output=body.output,
        cached=body.cached,
        reasoning=body.reasoning,
    )
    return Reply(200, PriceAnswer(_view(price)))


@routes.route("DELETE", "/projects/{project}/prices", query=OfModel, answer=DeletedPrice, errors=_WRITE)
async def delete(call: Call[Nothing, OfModel]) -> Reply:
    """Delete the price of one model. Needs the scope admin."""
    provider, model = call.query.provider, call.query.model
    await commands.delete(call.app, call.principal, call.path["project"], provider, model)
    return Reply(200, DeletedPrice(True, provider, model))


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Of runs created from `since` on, before `until`: the last 30 days unless told otherwise, up to the end of this
    quarter hour.
    """

    by: By = "model"
    since: Moment | None = None
    until: Moment | None = None


class PricedUsage(msgspec.Struct, frozen=True):
    """What one model used. Null where the completions named none. `cost_micros` is in millionths of your currency, null
    without a price.
    """

    provider: str | None
    model: str | None
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cost_micros: int | None


class UsageGroup(msgspec.Struct, frozen=True):
    """`key`: the model, target, schedule id, id of the key or user that created the runs, day (UTC) or root run's id.
    `cost_micros` leaves out what `unpriced_runs` used, which have no price.
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
    models: Annotated[list[PricedUsage], Meta(description="Most tokens first, 1,000 at most.")]


class ProjectUsage(msgspec.Struct, frozen=True):
    """`runs_looked_at`: the runs that were created in the stretch. `truncated` is false, but for a while after the upgrade of
    a store from before there were sums: until all is added up, only its newest 100,000 runs count beside the sums.
    """

    by: By
    since: Timestamp
    until: Timestamp
    groups: Annotated[
        list[UsageGroup], Meta(description="Days newest first, else most tokens first; 1,000 at most.")
    ]
    groups_left_out: int
    total: UsageGroup
    runs_looked_at: int
    truncated: bool


def _group(group: Group) -> UsageGroup:
    models = [
        PricedUsage(
            provider=line.provider,
            model=line.model,
            runs=line.runs,
            input_tokens=line.tokens.input_tokens,
            output_tokens=line.tokens.output_tokens,
            cached_input_tokens=line.tokens.cached_input_tokens,
            reasoning_tokens=line.tokens.reasoning_tokens,
            total_tokens=line.tokens.total,
            cost_micros=line.cost_micros,
        )
        for line in group.lines
    ]
    tokens = group.tokens
    return UsageGroup(
        key=group.key,
        runs=group.runs,
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
        cached_input_tokens=tokens.cached_input_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        total_tokens=tokens.total,
        cost_micros=group.cost_micros,
        unpriced_runs=group.unpriced_runs,
        models=models,
    )


@routes.route(
    "GET", "/projects/{project}/usage", query=UsageFilter, answer=ProjectUsage, errors=("NOT_FOUND",)
)
async def usage(call: Call[Nothing, UsageFilter]) -> Reply:
    """What the project's runs used, and what that cost by today's prices."""
    query = call.query
    until = moment_ms("until", query.until)
    until = (now_ms() // QUARTER + 1) * QUARTER if until is None else until
    since = moment_ms("since", query.since)
    since = max(until - _stretch_ms, 0) if since is None else since
    found = await usage_report.report(call.app, call.principal, call.path["project"], since, until, query.by)
    return Reply(
        200,
        ProjectUsage(
            by=found.by,
            since=iso(found.since),
            until=iso(found.until),
            groups=[_group(one) for one in found.groups],
            groups_left_out=found.groups_left_out,
            total=_group(found.total),
            runs_looked_at=found.runs,
            truncated=found.truncated,
        ),
    )
