"""Budgets, and what was spent of them. Times are ms since 1970 UTC; money is in whole millionths of the currency."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.runs.run import Run

ScopeKind = Literal["project", "target", "key", "schedule", "label"]
StoredScope = ScopeKind | Literal["run"]
"""`run`: the budget was given when that run was created, and bounds it with its descendants."""
Period = Literal["run_family", "day", "month"]
OnReached = Literal["pause", "fail", "cancel", "alert"]

#: The strictest comes first: it decides where several budgets are reached at once.
STRICTEST: Final[tuple[OnReached, ...]] = ("cancel", "fail", "pause", "alert")
EXACT: Final = 1_000_000
"""A cost is counted in millionths of a millionth of the currency: see `core.usage.price.cost`."""
_DECIMAL: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?")


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, as a row of the store. Engines store the fields as columns.

    `scope_value`: the target, the id of the key or user that created the runs, the schedule, or `name:value` of a
    label; None for the project. `family_seq` is the run of a budget with the scope `run`, else 0.
    At least one of `limit_tokens` and `limit_micros` is set. `attention_at` is set while runs that wait for the budget
    may have to continue or to end: its limit was raised, it was changed or deleted.
    """

    id: str
    project_id: str
    name: str
    scope_kind: StoredScope
    scope_value: str | None = None
    period: Period
    limit_tokens: int | None = None
    limit_micros: int | None = None
    on_reached: OnReached
    alert_at_percent: int = limits.budget_alert_percent_default
    created_at: int = 0
    updated_at: int = 0
    created_by: str | None = None
    family_seq: int = 0
    attention_at: int | None = None
    deleted_at: int | None = None
    version: int = 1


class BudgetSum(msgspec.Struct, frozen=True):
    """What was spent of a budget in a period: of a family (`family_seq`), or since `starts_at`; the other one is 0.

    `raised_*` were added to the limit for this period only. `alerted_at`, `reached_at`: since when the share of the
    alert, or the limit, is reached.
    """

    budget_id: str
    family_seq: int
    starts_at: int
    tokens: int = 0
    cost_micros: int = 0
    cost_rest: int = 0  # millionths of a millionth, so that sums are exact
    raised_tokens: int = 0
    raised_micros: int = 0
    alerted_at: int | None = None
    reached_at: int | None = None

    @property
    def key(self) -> "SumKey":
        return SumKey(self.budget_id, self.family_seq, self.starts_at)

    @property
    def exact(self) -> int:
        return self.cost_micros * EXACT + self.cost_rest

    def plus(self, tokens: int, exact: int) -> "BudgetSum":
        """Return the sum after a report. A correction that is lower than what was counted never makes it negative."""
        most = limits.budget_sum_max
        micros, rest = divmod(min(max(self.exact + exact, 0), most * EXACT), EXACT)
        new = min(max(self.tokens + tokens, 0), most)
        return replace(self, tokens=new, cost_micros=micros, cost_rest=rest)


class SumKey(NamedTuple):
    budget_id: str
    family_seq: int
    starts_at: int


class RunSpending(msgspec.Struct, frozen=True):
    """What a run has counted for budgets so far: its completion replaces what its events counted.

    `waits_for`: the budget that stopped it last. `approved`: the periods in which budgets do not stop it, as
    `approval_of` names them, separated by spaces.
    """

    run_seq: int
    tokens: int = 0
    cost_micros: int = 0
    cost_rest: int = 0
    waits_for: str | None = None
    approved: tuple[str, ...] = ()


class Facts(NamedTuple):
    """The members of a run that scopes name."""

    target: str | None
    created_by: str | None
    schedule_id: str | None
    labels: bytes | None


def facts_of(run: Run) -> Facts:
    return Facts(run.target, run.created_by, run.schedule_id, run.labels)


def applies(budget: Budget, facts: Facts) -> bool:
    """Whether a run with these facts counts for the budget. A budget of a run is found by its family instead."""
    value = budget.scope_value
    match budget.scope_kind:
        case "target":
            return facts.target == value
        case "key":
            return facts.created_by == value
        case "schedule":
            return facts.schedule_id == value
        case "label":
            name, _, wanted = (value or "").partition(":")
            labels = {} if facts.labels is None else msgspec.json.decode(facts.labels, type=dict[str, str])
            return labels.get(name) == wanted
    return True


def key_of(budget: Budget, run: Run, now: int) -> SumKey:
    """Return which sum a run's usage counts for."""
    if budget.family_seq:
        return SumKey(budget.id, budget.family_seq, 0)
    if budget.period == "run_family":
        return SumKey(budget.id, run.root_seq or run.seq, 0)
    return SumKey(budget.id, 0, starts_at(budget.period, now))


def starts_at(period: Period, now: int) -> int:
    """Return when the day or month of `now` began, in UTC. 0 for families, which have no time."""
    if period == "run_family":
        return 0
    day = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return round((day if period == "day" else day.replace(day=1)).timestamp()) * 1000


def ends_at(period: Period, start: int) -> int | None:
    """Return when the period that began at `start` ends. None: the period of a family does not end."""
    if period == "run_family":
        return None
    day = datetime.fromtimestamp(start / 1000, UTC)
    if period == "day":
        return start + 86_400_000
    following = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
    return round(following.timestamp()) * 1000


def bounds_of(budget: Budget, spent: BudgetSum) -> tuple[int | None, int | None]:
    """Return the limits of a period: tokens, and micros; None where there is none."""
    tokens, cost = budget.limit_tokens, budget.limit_micros
    return (
        None if tokens is None else tokens + spent.raised_tokens,
        None if cost is None else cost + spent.raised_micros,
    )


def reached(budget: Budget, spent: BudgetSum) -> bool:
    """Whether as much was spent as the limit allows."""
    return share(budget, spent) >= 100


def share(budget: Budget, spent: BudgetSum) -> int:
    """Return the spent percentage of the limit, rounded down: of tokens or of cost, the larger one."""
    tokens, cost = bounds_of(budget, spent)
    shares = [spent.tokens * 100 // tokens] if tokens is not None else []
    shares += [spent.exact * 100 // (cost * EXACT)] if cost is not None else []
    return max(shares)


def approval_of(key: SumKey) -> str:
    """Return the name of the period in which a budget does not stop a run that was approved."""
    return f"{key.budget_id}@{key.starts_at}"


def format_micros(micros: int) -> str:
    """Return an amount as a decimal: 2500000 → "2.50". It has two places at least, and as many as it needs."""
    whole, rest = divmod(micros, 1_000_000)
    digits = f"{rest:06d}".rstrip("0")
    return f"{whole}.{digits.ljust(2, '0')}"


def parse_micros(text: str, member: str) -> int:
    """Return the millionths of a decimal: "2.50" → 2500000. INVALID_REQUEST for another form."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise invalid_at(
            member, f"{member} is a decimal as text with at most 6 places, such as 2.50, not {text[:40]!r}"
        )
    return int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0"))


def describe(budget: Budget, spent: BudgetSum) -> str:
    """Return what was spent of which budget, for people: `Budget "Search": 12.40 of 10.00 spent today`."""
    tokens, cost = bounds_of(budget, spent)
    parts = [] if cost is None else [f"{format_micros(spent.cost_micros)} of {format_micros(cost)}"]
    parts += [] if tokens is None else [f"{spent.tokens:,} of {tokens:,} tokens"]
    when = {"run_family": "by the family", "day": "today (UTC)", "month": "this month (UTC)"}[budget.period]
    return f'Budget "{budget.name}": {" and ".join(parts)} spent {when}'


def default_name(scope_kind: StoredScope, scope_value: str | None, period: Period) -> str:
    """Name a budget without a name."""
    subject = scope_kind if scope_value is None else f"{scope_kind} {scope_value}"
    return f"{subject} per {period.replace('_', ' ')}"[: limits.name_chars_max]


def check(budget: Budget, within: str = "") -> None:
    """INVALID_REQUEST if members do not fit together. `within` is the path of the budget in the body, with a dot."""
    if budget.limit_tokens is None and budget.limit_micros is None:
        raise invalid_at(f"$.{within}limit", "A limit has cost, tokens or both")
    if budget.limit_micros == 0:
        raise invalid_at(f"$.{within}limit.cost", "The cost of a limit is over 0")
    if budget.scope_kind == "project":
        if budget.scope_value is not None:
            raise invalid_at("$.scope.value", "The scope project takes no value")
    elif not budget.scope_value:
        raise invalid_at("$.scope.value", f"The scope {budget.scope_kind} needs a value")
    elif budget.scope_kind == "label" and ":" not in budget.scope_value:
        raise invalid_at("$.scope.value", "The scope label has a value of the form name:value")


def changed(budget: Budget, changes: Mapping[str, Any], now: int) -> Budget:
    """Return the budget with these members changed. Runs that wait for it are looked at again. INVALID_REQUEST."""
    new = replace(budget, **changes)
    check(new)
    if new == budget:
        return budget
    settles = not {"limit_tokens", "limit_micros", "on_reached"}.isdisjoint(changes)
    attention = now if settles else budget.attention_at
    return replace(new, updated_at=now, attention_at=attention, version=budget.version + 1)
