"""Count usage for budgets. Pure: engines load `Spending` under a lock, and store `Spent` in the same transaction."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.budgets.budget import (
    EXACT,
    STRICTEST,
    Budget,
    BudgetSum,
    RunSpending,
    SumKey,
    approval_of,
    reached,
    share,
)
from runstead.core.queue.rate import BucketName, Rate, Used
from runstead.core.usage.price import PriceList, cost
from runstead.core.usage.usage import Reported, read

BudgetEventType = Literal["budget.alert", "budget.reached"]
EVENT_TYPES: Final[tuple[BudgetEventType, ...]] = ("budget.alert", "budget.reached")


class BudgetEvent(NamedTuple):
    """A share of a budget that was reached, with the run whose usage reached it."""

    type: BudgetEventType
    budget: Budget
    spent: BudgetSum
    run_id: str


class Spending(msgspec.Struct, frozen=True):
    """The budgets of one run, with what was spent of them, and what the run has counted so far.

    `now` is the time that chose the periods. `sums` has every sum of `keys`, or it is still zero. `rates` are those of
    tokens of models, with the buckets that the run's usage is taken from.
    """

    now: int
    budgets: tuple[tuple[Budget, SumKey], ...]
    sums: Mapping[SumKey, BudgetSum]
    prices: PriceList
    of_run: RunSpending
    rates: tuple[tuple[BucketName, Rate], ...] = ()

    def spent(self, key: SumKey) -> BudgetSum:
        return self.sums.get(key) or BudgetSum(*key)

    def find(self, budget_id: str) -> tuple[Budget, BudgetSum] | None:
        """Return a budget that counts the run, with its sum."""
        return next(
            ((budget, self.spent(key)) for budget, key in self.budgets if budget.id == budget_id), None
        )

    def stopping(self) -> tuple[Budget, BudgetSum] | None:
        """Return the budget that stops the run: it is reached, and was not approved for the run in this period.

        Of several, the strictest; of those, the oldest.
        """
        found = [
            (budget, self.spent(key))
            for budget, key in self.budgets
            if budget.on_reached != "alert"
            and reached(budget, self.spent(key))
            and approval_of(key) not in self.of_run.approved
        ]
        return min(found, key=lambda each: STRICTEST.index(each[0].on_reached), default=None)

    def after(self, spent: "Spent") -> "Spending":
        """Return what a later command of the same transaction finds."""
        of_run = spent.of_run if spent.of_run.run_seq == self.of_run.run_seq else self.of_run
        return replace(self, sums={**self.sums, **{one.key: one for one in spent.sums}}, of_run=of_run)


class Spent(msgspec.Struct, frozen=True):
    """What a transition stores of budgets. `opened`: sums that are new. `attention`: ids of budgets whose waiting runs
    are looked at again. `used`: what is taken from the buckets of rates.
    """

    of_run: RunSpending
    sums: tuple[BudgetSum, ...] = ()
    events: tuple[BudgetEvent, ...] = ()
    opened: tuple[SumKey, ...] = ()
    attention: tuple[str, ...] = ()
    used: tuple[Used, ...] = ()


def spend(spending: Spending, run_id: str, reports: Sequence[Reported], *, final: bool = False) -> Spent:
    """Count reports of a run. `final`: they replace what the run has counted so far; each token counts once.

    A model without a price counts tokens only. A bucket gets no tokens back if the run used less than it had counted:
    meanwhile it may have refilled.
    """
    tokens = sum([one.tokens.total for one in reports])
    exact = sum([cost_of(one, spending.prices) for one in reports])
    known = spending.of_run
    counted = known.cost_micros * EXACT + known.cost_rest
    more_tokens, more_cost = tokens, exact
    if final:
        more_tokens, more_cost = tokens - known.tokens, exact - counted
    most = limits.budget_sum_max
    micros, rest = divmod(min(counted + more_cost, most * EXACT), EXACT)
    of_run = replace(known, tokens=min(known.tokens + more_tokens, most), cost_micros=micros, cost_rest=rest)
    sums, events = [], []
    for budget, key in spending.budgets:
        one, event = flagged(budget, spending.spent(key).plus(more_tokens, more_cost), spending.now)
        sums.append(one)
        if event is not None:
            events.append(BudgetEvent(event, budget, one, run_id))
    opened = tuple(key for _, key in spending.budgets if key not in spending.sums)
    used = tuple(Used(*one, more_tokens) for one in spending.rates) if more_tokens > 0 else ()
    return Spent(of_run, tuple(sums), tuple(events), opened, used=used)


def flagged(budget: Budget, spent: BudgetSum, now: int) -> tuple[BudgetSum, BudgetEventType | None]:
    """Return the sum with the times at which its shares were reached, and the event of the highest new one.

    A share that is not reached any more, since the limit was raised, is an event when it is reached again.
    """
    percent = share(budget, spent)
    alerts, full = percent >= budget.alert_at_percent or percent >= 100, percent >= 100
    event: BudgetEventType | None = None
    if full and spent.reached_at is None:
        event = "budget.reached"
    elif alerts and spent.alerted_at is None:
        event = "budget.alert"
    return (
        replace(
            spent,
            alerted_at=(spent.alerted_at or now) if alerts else None,
            reached_at=(spent.reached_at or now) if full else None,
        ),
        event,
    )


def cost_of(reported: Reported, prices: PriceList) -> int:
    """Return the exact cost of a report, 0 for a model without a price."""
    price = prices.of(reported.provider, reported.model)
    return 0 if price is None else cost(price, reported.tokens)


class _Models(msgspec.Struct, frozen=True):
    models: list[Reported] = []


_models = msgspec.json.Decoder(_Models, strict=False).decode


def final_reports(metadata: bytes) -> tuple[Reported, ...]:
    """Return the usage of a completion's metadata: of each model that `models` lists, if they are the whole sum.

    Empty: the metadata has no token counts, so it replaces nothing.
    """
    whole = read(metadata)
    if whole.input_tokens is None and whole.output_tokens is None:
        return ()
    try:
        each = tuple(_models(metadata).models)
    except msgspec.ValidationError:  # a member of that name with another meaning
        each = ()
    return each if each and sum(one.tokens.total for one in each) == whole.tokens.total else (whole,)


class Ledger:
    """The budgets of some runs of one project within one transaction: later commands see what earlier ones spent."""

    def __init__(self, spendings: Mapping[int, Spending]) -> None:
        """`spendings`: by the seq of the run."""
        self._spendings = dict(spendings)
        self._spent: list[Spent] = []

    def of(self, run_seq: int) -> Spending | None:
        found = self._spendings.get(run_seq)
        if found is None:
            return None
        for spent in self._spent:
            found = found.after(spent)
        return found

    def take(self, spent: Spent) -> None:
        self._spent.append(spent)
