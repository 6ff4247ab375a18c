"""Prices of models, and usage reports of projects."""

from datetime import datetime
from typing import Literal

import msgspec

from runstead.sdk.models.response import Listing, ResponseModel
from runstead.sdk.models.usage import ModelUsage, TokenSums

UsageBy = Literal["model", "target", "schedule", "key", "day", "family"]


class Price(ResponseModel, frozen=True, kw_only=True):
    """The price of a million tokens, in millionths of your currency: 2_500_000 is 2.50."""

    provider: str
    model: str
    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None
    updated_at: datetime | None = None


class PriceAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored price."""

    price: Price


class PriceList(Listing[Price], frozen=True, kw_only=True):
    """The prices of a project."""


class DeletedPrice(ResponseModel, frozen=True, kw_only=True):
    """The answer to a deletion. `deleted` is false where there was no price."""

    deleted: bool
    provider: str
    model: str


class PricedUsage(ModelUsage, frozen=True, kw_only=True):
    """The tokens of one model. `cost_micros` is in millionths of your currency, None without a price."""

    cost_micros: int | None = None


class UsageGroup(TokenSums, frozen=True, kw_only=True):
    """The usage of one group. `cost_micros` does not include the `unpriced_runs`, whose models have no price."""

    key: str | None = None
    cost_micros: int = 0
    unpriced_runs: int = 0
    models: list[PricedUsage] = msgspec.field(default_factory=list)


class ProjectUsage(ResponseModel, frozen=True, kw_only=True):
    """A usage report. `runs_looked_at` is the number of runs created in the period.

    `truncated`: after an upgrade the sums of older runs are not complete yet.
    """

    by: str
    since: datetime
    until: datetime
    groups: list[UsageGroup]
    total: UsageGroup
    groups_left_out: int = 0
    runs_looked_at: int = 0
    truncated: bool = False
