"""Budgets, and rates of tokens. On PostgreSQL a transaction that counts usage holds the project's lock from before it
reads sums until its commit.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.budgets.budget import (
    Budget,
    BudgetSum,
    Facts,
    RunSpending,
    SumKey,
    applies,
    facts_of,
    key_of,
    starts_at,
)
from runstead.core.budgets.counting import BudgetEvent, Ledger, Spending, Spent
from runstead.core.budgets.message import deliveries
from runstead.core.errors import existing
from runstead.core.idempotency import Idempotency
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.budgets import CALL
from runstead.core.usage.price import Price, PriceList
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, read
from runstead.engines.sql.rates import take_used, token_rates
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    first,
    lock,
    now as engine_time,
    rewrite,
    select,
    select_rows,
    value,
    values,
)
from runstead.ports.store import BudgetState, Change, Count, RunKey, WaitingPage, WaitingRun


class SqlBudgets(SqlNoun):
    @command
    def create(
        self, now: int, budget: Budget, guard: Count, idempotency: Idempotency = None
    ) -> Steps[BudgetState]:
        yield from lock(LockSpace.BUDGETS, [budget.project_id])
        guard((yield from value("count_budgets", project_id=budget.project_id)))
        new = replace(budget, created_at=now, updated_at=now)
        yield from execute("add_budget", new)
        yield from changed(None, new)
        return (yield from _states([new]))[0]

    @read
    def get(self, project_id: str, budget_id: str) -> Steps[BudgetState | None]:
        found = yield from select("budget", Budget, id=budget_id, project_id=project_id)
        return next(iter((yield from _states(found))), None)

    @read
    def page(self, project_id: str) -> Steps[list[BudgetState]]:
        found = yield from select("budgets_of", Budget, project_id=project_id, families=[0])
        return (yield from _states(found))

    @read
    def of_run(self, run: Run) -> Steps[list[BudgetState]]:
        spending = (yield from load_ledger(run.project_id, [run], (yield from engine_time()))).of(run.seq)
        if spending is None:
            return []
        return [BudgetState(budget, spending.spent(key)) for budget, key in spending.budgets]

    async def given_to(self, run: Run) -> Budget | None:
        return await self._database.read(
            first, "budgets_of", Budget, project_id=run.project_id, families=[run.seq]
        )

    @command
    def change(
        self,
        now: int,
        project_id: str,
        budget_id: str,
        decide: Change[Budget],
        idempotency: Idempotency = None,
    ) -> Steps[BudgetState]:
        old = existing(
            (yield from first("lock_budget", Budget, id=budget_id, project_id=project_id)), "Budget"
        )
        new = decide(old, now)
        yield from rewrite("budgets", old, new)
        yield from changed(old, new)
        return (yield from _states([new]))[0]

    @command
    def delete(self, now: int, project_id: str, budget_id: str) -> Steps[bool]:
        old = yield from first("lock_budget", Budget, id=budget_id, project_id=project_id)
        if old is None:
            return False
        yield from rewrite("budgets", old, replace(old, deleted_at=now, attention_at=now))
        yield from changed(old, None)
        return True

    async def with_attention(self, limit: int) -> list[Budget]:
        found = await self._database.read(select, "budgets_with_attention", Budget, limit=limit)
        if found:  # a transaction that read a budget as it was before may still let a run wait for it
            await self._database.settle()
        return found

    @read
    def waiting(self, budget_id: str, after: int, limit: int) -> Steps[WaitingPage]:
        seqs = yield from values("budget_waits", id=budget_id, after=after, limit=limit)
        rows = yield from select_rows("runs_that_wait", seqs=seqs, call=f"{CALL}{budget_id}")
        runs = [WaitingRun(row["seq"], RunKey(row["project_id"], row["run_id"])) for row in rows]
        return WaitingPage(runs, seqs[-1] if len(seqs) == limit else None)

    @command
    def settled(self, _now: int, budget: Budget) -> Steps[None]:
        read_at = budget.attention_at
        if budget.deleted_at is None:
            yield from execute("budget_settled", id=budget.id, attention_at=read_at)
        elif (yield from execute("purge_budget", id=budget.id, attention_at=read_at)):
            yield from execute("purge_budget_sums", id=budget.id)


def _states(budgets: Sequence[Budget]) -> Steps[list[BudgetState]]:
    """The budgets, oldest first, with the sums of their current periods."""
    now = yield from engine_time()
    keys = {
        budget.id: SumKey(
            budget.id, budget.family_seq, 0 if budget.family_seq else starts_at(budget.period, now)
        )
        for budget in budgets
    }
    sums = yield from _sums(keys.values())
    return [
        BudgetState(budget, sums.get(keys[budget.id]) or BudgetSum(*keys[budget.id]))
        for budget in sorted(budgets, key=_oldest)
    ]


def _oldest(budget: Budget) -> tuple[int, int, str]:
    return budget.created_at, budget.family_seq, budget.id


def _sums(keys: Iterable[SumKey]) -> Steps[dict[SumKey, BudgetSum]]:
    wanted = set(keys)
    if not wanted:
        return {}
    found = yield from select(
        "budget_sums",
        BudgetSum,
        ids=sorted({key.budget_id for key in wanted}),
        families=sorted({key.family_seq for key in wanted}),
        starts=sorted({key.starts_at for key in wanted}),
    )
    return {one.key: one for one in found}


def load_ledger(project_id: str, runs: Sequence[Run], now: int, *, rated: bool = False) -> Steps[Ledger]:
    """The budgets of these runs of one project, with their sums at `now`. `rated`: also the rates of tokens."""
    families = {seq for run in runs for seq in (run.seq, *run.ancestor_seqs)}
    found = yield from select("budgets_of", Budget, project_id=project_id, families=[0, *sorted(families)])
    rates = (yield from token_rates(project_id, runs)) if rated else {}
    if not found and not rates:
        return Ledger({})
    found.sort(key=_oldest)
    facts = {run.seq: facts_of(run) for run in runs}
    if any(budget.period == "run_family" for budget in found):
        missing = sorted({run.root_seq or run.seq for run in runs} - facts.keys())
        rows = (yield from select_rows("facts_of_runs", seqs=missing)) if missing else []
        facts |= {row.pop("seq"): Facts(**row) for row in rows}
    counting = {run.seq: _counting(found, run, facts, now) for run in runs}
    sums = yield from _sums(key for pairs in counting.values() for _, key in pairs)
    prices = PriceList((yield from select("prices", Price, project_id=project_id)))
    seqs = sorted(counting)
    of_runs = yield from select("run_spendings", RunSpending, seqs=seqs)
    counted = {one.run_seq: one for one in of_runs}
    return Ledger(
        {
            seq: Spending(now, pairs, sums, prices, counted.get(seq) or RunSpending(seq), rates.get(seq, ()))
            for seq, pairs in counting.items()
            if found or seq in rates
        }
    )


def _counting(
    budgets: Sequence[Budget], run: Run, facts: dict[int, Facts], now: int
) -> tuple[tuple[Budget, SumKey], ...]:
    """The budgets that count the run. Those of families look at the root, the others at the run itself."""
    line = {run.seq, *run.ancestor_seqs}
    found = []
    for budget in budgets:
        if budget.family_seq:
            counts = budget.family_seq in line
        else:
            whose = run.root_seq or run.seq if budget.period == "run_family" else run.seq
            counts = whose in facts and applies(budget, facts[whose])
        if counts:
            found.append((budget, key_of(budget, run, now)))
    return tuple(found)


def store_spent(project_id: str, spent: Sequence[Spent], now: int) -> Steps[None]:
    """Store what transitions of one project spent, in their order, with the messages of its webhooks."""
    sums = {one.key: one for each in spent for one in each.sums}
    for one in sorted(sums.values(), key=lambda each: each.key):
        written = yield from execute("put_budget_sum", one)
        assert written == 1
    for key in sorted({key for each in spent for key in each.opened if key.starts_at}):
        before = key.starts_at - limits.budget_periods_kept_days * 86_400_000
        yield from execute("drop_budget_sums", budget_id=key.budget_id, before=before)
    for of_run in {each.of_run.run_seq: each.of_run for each in spent}.values():
        yield from execute("put_run_spending", of_run)
    for budget_id in sorted({name for each in spent for name in each.attention}):
        yield from execute("mark_budget", id=budget_id, now=now)
    yield from take_used([one for each in spent for one in each.used], now)
    yield from _notify(project_id, [event for each in spent for event in each.events], now)


def _notify(project_id: str, events: Sequence[BudgetEvent], now: int) -> Steps[None]:
    if not events:
        return
    webhooks = yield from select("enabled_webhooks", Webhook, project_ids=[project_id])
    for event in events:
        for delivery in deliveries(event, webhooks, now):
            yield from value("add_delivery", **fields(delivery))


def held_back(run: Run, ledger: Ledger | None) -> Transition | None:
    """The transition that stops a run before a claim, if a budget is reached."""
    return None if ledger is None else transitions.held_back(run, ledger.of(run.seq))
