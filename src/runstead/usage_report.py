"""What the runs of a project reported to have used, in groups, and what that cost."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from runstead import limits
from runstead.clock import iso
from runstead.price import PriceList, cost, micros
from runstead.usage import Reported, Tokens

By = Literal["model", "target", "schedule", "key", "day", "family"]
WAYS: Final[tuple[By, ...]] = get_args(By)


class Report(msgspec.Struct, frozen=True):
    """What one run reported, and as much of the run as groups are made of."""

    seq: int
    root_run_id: str
    created_at: int
    target: str | None
    schedule_id: str | None
    created_by: str | None
    reported: Reported


class Line(msgspec.Struct, frozen=True):
    """What one model used in one group; with both null, runs that named none. `cost_micros` in millionths of the project's
    currency, None where the model has no price.
    """

    provider: str | None
    model: str | None
    runs: int
    tokens: Tokens
    cost_micros: int | None


class Group(msgspec.Struct, frozen=True):
    """`key`: the model, the target, the schedule's id, the id of the key or user that created the runs, the day (UTC,
    2026-03-20) or the id of the family's root run; None of runs that have none. `lines`: most tokens first.

    `cost_micros` is the cost of what has a price, which `unpriced_runs` had not.
    """

    key: str | None
    runs: int
    tokens: Tokens
    cost_micros: int
    unpriced_runs: int
    lines: list[Line]


class UsageReport(msgspec.Struct, frozen=True):
    """`groups`: days by date, newest first; all others with the most tokens first; `limits.usage_groups_max` at most, and
    `groups_left_out` says how many more there were. `total` has them all, its lines being those of every model.

    `truncated`: the stretch holds more runs than are looked at, and only the newest `looked` of them count.
    """

    by: By
    since: int
    until: int
    groups: list[Group]
    groups_left_out: int
    total: Group
    looked: int
    truncated: bool


_Models = dict[tuple[str | None, str | None], tuple[int, Tokens]]


class Reporter:
    """Sums up what it is given, a few runs at a time. A project has as many groups as runs, at worst."""

    def __init__(self, by: By, prices: PriceList) -> None:
        self._by = by
        self._prices = prices
        self._groups: dict[str | None, _Models] = {}
        self._total: _Models = {}

    def add(self, reports: Iterable[Report]) -> None:
        for report in reports:
            told = report.reported
            for models in (self._groups.setdefault(self._key(report), {}), self._total):
                name = (told.provider, told.model)
                count, tokens = models.get(name, (0, Tokens()))
                tokens.add(told)
                models[name] = count + 1, tokens

    def _key(self, report: Report) -> str | None:
        match self._by:
            case "model":
                return report.reported.model
            case "target":
                return report.target
            case "schedule":
                return report.schedule_id
            case "key":
                return report.created_by
            case "day":
                return iso(report.created_at)[:10]
            case "family":
                return report.root_run_id

    def done(self, *, since: int, until: int, looked: int, truncated: bool) -> UsageReport:
        groups = [self._group(key, models) for key, models in self._groups.items()]
        if self._by == "day":
            groups.sort(key=lambda one: one.key or "", reverse=True)
        else:
            groups.sort(key=lambda one: (-one.tokens.total, one.key or ""))
        kept = groups[: limits.usage_groups_max]
        total = self._group(None, self._total)
        return UsageReport(self._by, since, until, kept, len(groups) - len(kept), total, looked, truncated)

    def _group(self, key: str | None, models: _Models) -> Group:
        tokens = Tokens()
        runs = unpriced = exact = 0
        lines = []
        for (provider, model), (count, used) in models.items():
            price = self._prices.of(provider, model)
            costs = None if price is None else cost(price, used)
            lines.append(Line(provider, model, count, used, None if costs is None else micros(costs)))
            runs += count
            tokens.join(used)
            exact += costs or 0
            unpriced += count if costs is None else 0
        lines.sort(key=lambda one: (-one.tokens.total, one.provider or "", one.model or ""))
        return Group(key, runs, tokens, micros(exact), unpriced, lines[: limits.usage_models_max])
