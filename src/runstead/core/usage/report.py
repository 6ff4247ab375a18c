"""Usage reports: the reported usage of a project's runs in groups, and its cost."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from runstead.core import limits
from runstead.core.usage.price import PriceList, cost, micros
from runstead.core.usage.rollup import Line as Sums, uncoded
from runstead.core.usage.usage import Tokens

By = Literal["model", "target", "schedule", "key", "day", "family"]
WAYS: Final[tuple[By, ...]] = get_args(By)


class Line(msgspec.Struct, frozen=True):
    """The usage of one model in one group. `provider` and `model` are None for runs that reported no model.
    `cost_micros` in millionths of the project's currency, None if the model has no price.
    """

    provider: str | None
    model: str | None
    runs: int
    tokens: Tokens
    cost_micros: int | None


class Group(msgspec.Struct, frozen=True):
    """One group of a report. `key` is the model, the target, the id of the schedule, the id of the key or
    user that created the runs, the day (UTC, 2026-03-20) or the id of the family's root run; None for runs
    without one. `lines`: most tokens first.

    `cost_micros` does not include the `unpriced_runs`, whose models have no price.
    """

    key: str | None
    runs: int
    tokens: Tokens
    cost_micros: int
    unpriced_runs: int
    lines: list[Line]


class UsageReport(msgspec.Struct, frozen=True):
    """A usage report. `groups`: days newest first, other groups with the most tokens first, at most
    `limits.usage_groups_max`; `groups_left_out` is the number of all others. `total` covers all groups, with
    a line for each model.

    `runs`: how many runs were created in the period. `truncated`: the sums of a store of an older version are
    not complete yet.
    """

    by: By
    since: int
    until: int
    groups: list[Group]
    groups_left_out: int
    total: Group
    runs: int
    truncated: bool


def groups_of(by: By, lines: Iterable[Sums], prices: PriceList) -> list[Group]:
    """Group the lines of a report. Days are sorted newest first, other groups by tokens."""
    named: dict[str, list[Sums]] = defaultdict(list)
    for line in lines:
        named[line.name].append(line)
    groups = [_group(uncoded(name), its, prices) for name, its in named.items()]
    if by == "day":
        groups.sort(key=lambda one: one.key or "", reverse=True)
    else:
        groups.sort(key=lambda one: (-one.tokens.total, one.key or ""))
    return groups


def total_of(lines: Iterable[Sums], prices: PriceList) -> Group:
    """Sum up the lines of every model."""
    return _group(None, lines, prices)


def _group(key: str | None, found: Iterable[Sums], prices: PriceList) -> Group:
    tokens = Tokens()
    runs = unpriced = exact = 0
    lines = []
    for line in found:
        provider, model = uncoded(line.provider), uncoded(line.model)
        used = Tokens(*line[4:])
        price = prices.of(provider, model)
        costs = None if price is None else cost(price, used)
        lines.append(Line(provider, model, line.runs, used, None if costs is None else micros(costs)))
        runs += line.runs
        tokens.join(used)
        exact += costs or 0
        unpriced += line.runs if costs is None else 0
    lines.sort(key=lambda one: (-one.tokens.total, one.provider or "", one.model or ""))
    return Group(
        key=key,
        runs=runs,
        tokens=tokens,
        cost_micros=micros(exact),
        unpriced_runs=unpriced,
        lines=lines[: limits.usage_models_max],
    )
