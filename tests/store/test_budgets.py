"""Budgets in the store: usage counts in the transaction that stores it, also for commands of one commit and of replicas."""

import asyncio
import itertools
import json

import msgspec
import pytest
from msgspec.structs import replace

from runstead.commands import budgets as commands, retention
from runstead.commands.budgets import RunBudget
from runstead.core.budgets.budget import Budget, starts_at
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from runstead.core.usage.price import Price
from runstead.core.webhooks.webhook import Webhook, secret_of
from tests.support.store_driver import PROJECT

from .test_retention import DAY, App as RetentionApp

RUNNING, WAITING, PENDING = RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PENDING


class App:
    """What the commands of budgets need of an application."""

    def __init__(self, store):
        self.store = store

    def publish(self, written):
        pass


@pytest.fixture
def budget(store):
    """budget(tokens, on_reached="pause", **members): stored."""
    numbers = itertools.count(1)

    async def make(tokens=None, on_reached="pause", *, kind="project", value=None, period="day", **members):
        new = Budget(
            id=f"budget-{next(numbers)}",
            project_id=PROJECT,
            name="B",
            scope_kind=kind,
            scope_value=value,
            period=period,
            limit_tokens=tokens,
            on_reached=on_reached,
            **members,
        )
        return (await store.budgets.create(new, lambda _count: None)).budget

    return make


async def spent(store, budget_id="budget-1"):
    return (await store.budgets.get(PROJECT, budget_id)).spent


def metadata(tokens, **members):
    return msgspec.json.encode(
        {"provider": "acme", "model": "m", "inputTokens": tokens, "outputTokens": 0, **members}
    )


async def test_each_token_counts_once_by_events_and_at_the_end(driver, store, budget):
    await budget(1_000)
    await driver.create("run-1")
    await driver.claim()
    await driver.report("run-1", 30, call="c1")
    await driver.report("run-1", 30, call="c1")  # a repeat
    await driver.report("run-1", 20, call="c2")
    assert (await spent(store)).tokens == 50
    await driver.complete("run-1", metadata=metadata(70))
    await driver.complete("run-1", metadata=metadata(900))  # the first one counts
    assert (await spent(store)).tokens == 70
    await driver.create("run-2")
    await driver.report("run-2", 40)
    await driver.complete("run-2", "failed", metadata=b'{"other":1}')  # without counts: the events stand
    assert (await spent(store)).tokens == 110


async def test_a_report_that_reaches_the_limit_lets_the_run_wait_in_the_same_transaction(
    driver, store, budget
):
    await budget(100)
    await driver.create("run-1")
    await driver.claim("ann")
    await driver.report("run-1", 60)
    written = await driver.report("run-1", 60)
    run = written.run
    assert (run.status, run.waiting_reason, run.waiting_tool_call_id) == (
        WAITING,
        "approval",
        "budget:budget-1",
    )
    assert run.waiting_tool_name == 'Budget "B": 120 of 100 tokens spent today (UTC)'
    assert run.lease_token is None
    assert run.latest_event_id == 2
    attempts = (await driver.runs.attempts(run.seq)).rows
    assert [(each.attempt, each.outcome) for each in attempts] == [(1, "paused")]
    assert await driver.claim_ids() == []
    resumed = (await driver.answer_budget("run-1")).run
    assert (resumed.status, resumed.waiting_tool_call_id) == (RUNNING, None)
    assert await driver.claim_ids() == ["run-1"]
    assert (await driver.report("run-1", 60)).run.status is RUNNING  # approved for this day
    assert (await spent(store)).tokens == 180


@pytest.mark.parametrize(
    ("on_reached", "status"), [("fail", "failed"), ("cancel", "cancelled"), ("alert", "running")]
)
async def test_what_a_budget_does_when_it_is_reached(driver, budget, on_reached, status):
    await budget(100, on_reached)
    await driver.create("run-1")
    await driver.create("child", parent="run-1")
    await driver.claim(limit=1)
    run = (await driver.report("run-1", 100)).run
    assert run.status == status
    if on_reached == "alert":
        return
    error = json.loads(run.error)
    assert (error["code"], error["message"].split(":")[0]) == ("BUDGET_REACHED", 'Budget "B"')
    child = await driver.row("child")
    assert child.status == ("cancelled" if on_reached == "cancel" else "pending")
    assert [event.type for event in await driver.log("run-1")] == ["CUSTOM", "RUN_ERROR"]


async def test_a_run_that_has_not_started_is_stopped_before_it_costs_anything(driver, store, budget):
    await budget(100, value="task:a", kind="target")
    await budget(100, "fail", value="task:b", kind="target")
    await budget(100, "cancel", value="task:c", kind="target")
    for target in "abc":
        await driver.create(f"spender-{target}", target=f"task:{target}")
        await driver.complete(f"spender-{target}", metadata=metadata(100))
    for target in "abcd":
        await driver.create(f"next-{target}", target=f"task:{target}", priority=5)
    found = await driver.claim(limit=10)
    leased = [run.run_id for run in found if run.lease_token is not None]
    assert leased == ["next-d"]
    states = [(await driver.row(f"next-{target}")).status for target in "abcd"]
    assert states == ["waiting", "failed", "cancelled", "running"]
    assert (await driver.row("next-a")).attempt == 0
    again = (await driver.answer_budget("next-a", {"approved": True, "raise_by": {"tokens": 50}})).run
    assert again.available_at == (await driver.row("next-a")).created_at  # its place in the queue
    assert await driver.claim_ids() == ["next-a"]


async def test_two_reports_at_once_cannot_both_miss_the_limit(driver, store, budget):
    await budget(100)
    for number in range(8):
        await driver.create(f"run-{number}")
    await driver.claim(limit=8)
    written = await asyncio.gather(*(driver.report(f"run-{number}", 25) for number in range(8)))
    states = sorted(one.run.status for one in written)
    assert states == ["running"] * 3 + ["waiting"] * 5
    assert (await spent(store)).tokens == 200  # at most one report of each working run is over the limit


async def test_a_raise_is_for_all_runs_and_those_that_wait_go_on(driver, store, budget, clock):
    await budget(100)
    for number in range(3):
        await driver.create(f"run-{number}")
    await driver.claim(limit=3)
    for number in range(3):
        await driver.report(f"run-{number}", 40)
    assert [run.status for run in await driver.rows()] == ["running", "running", "waiting"]
    await driver.report("run-0", 40)
    with pytest.raises(Error, match="still reached"):
        await driver.answer_budget("run-0", {"approved": True, "raise_by": {"tokens": 60}})
    with pytest.raises(Error, match="needs the scope admin"):
        await driver.answer_budget("run-0", {"approved": True, "raise_by": {"tokens": 61}}, may_raise=False)
    await driver.answer_budget("run-0", {"approved": True, "raise_by": {"tokens": 61}})
    assert (await driver.row("run-2")).status is WAITING  # until the loop looks at it, also after a crash
    await commands.settle_some(App(store))
    assert (await driver.row("run-2")).status is RUNNING
    assert await store.budgets.with_attention(10) == []
    clock.advance_ms(DAY)
    await driver.claim(limit=3)
    await driver.report("run-2", 99)
    assert (await spent(store)).tokens == 99  # a new day, without the raise
    assert (await driver.report("run-2", 1)).run.status is WAITING


async def test_a_refused_run_ends(driver, budget):
    await budget(10)
    await driver.create("run-1")
    await driver.report("run-1", 10)
    run = (await driver.answer_budget("run-1", {"approved": False})).run
    assert (run.status, json.loads(run.error)["code"]) == ("failed", "BUDGET_REACHED")


async def test_a_run_goes_on_when_the_next_day_begins(driver, store, budget, clock):
    await budget(10)
    await driver.create("run-1")
    run = (await driver.report("run-1", 10)).run
    assert run.resume_at == starts_at("day", clock() + DAY)
    clock.advance_ms(run.resume_at - clock())
    await driver.enforce_deadlines()
    assert await driver.claim_ids() == ["run-1"]
    assert (await spent(store)).tokens == 0


@pytest.mark.parametrize("how", ["raised", "deleted", "cancels", "fails"])
async def test_runs_that_wait_follow_a_changed_budget(driver, store, budget, how):
    made = await budget(10)
    await driver.create("run-1")
    await driver.create("child", parent="run-1")
    await driver.report("run-1", 10)
    if how == "deleted":
        assert await store.budgets.delete(PROJECT, made.id)
    else:
        members = {
            "raised": {"limit_tokens": 11},
            "cancels": {"on_reached": "cancel"},
            "fails": {"on_reached": "fail"},
        }[how]
        rules = commands.rules
        await store.budgets.change(PROJECT, made.id, lambda one, now: rules.changed(one, members, now))
    await commands.settle_some(App(store))
    wanted = {"raised": "running", "deleted": "running", "cancels": "cancelled", "fails": "failed"}[how]
    assert (await driver.row("run-1")).status == wanted
    assert (await driver.row("child")).status == ("cancelled" if how == "cancels" else "pending")
    assert (await store.budgets.get(PROJECT, made.id) is None) == (how == "deleted")
    assert await store.budgets.with_attention(10) == []


async def test_a_run_with_children_that_a_claim_must_cancel_is_cancelled_with_them(driver, store, budget):
    await budget(10, "cancel")
    await driver.create("run-1")
    await driver.create("child", parent="run-1")
    await driver.create("spender")
    await driver.complete("spender", metadata=metadata(10))
    assert [run.run_id for run in await driver.claim(limit=1)] == ["run-1"]
    assert (await driver.row("run-1")).status is WAITING
    await commands.settle_some(App(store))
    assert [run.status for run in await driver.rows()] == ["cancelled", "cancelled", "completed"]


async def test_compensations_of_a_run_that_a_budget_ends_are_created_and_not_stopped(driver, store, budget):
    await budget(10, "fail")
    for run_id in ("run-1", "run-2"):
        await driver.create(run_id, target="task:a")
        await driver.compensate(run_id)
    await driver.claim(targets=("task:a",), limit=1)
    assert (await driver.report("run-1", 10)).run.status == "failed"
    # A claim ends no run that has compensations: it waits, and the loop ends it.
    assert [run.run_id for run in await driver.claim(targets=("task:a",), limit=1)] == ["run-2"]
    assert (await driver.row("run-2")).status is WAITING
    await commands.settle_some(App(store))
    assert (await driver.row("run-2")).status == "failed"
    undo = [run for run in await driver.rows() if run.compensates]
    assert [run.compensates for run in undo] == ["run-1", "run-2"]
    claimed = await driver.claim(limit=2, targets=("task:undo",))
    assert [run.status for run in claimed] == [RUNNING, RUNNING]
    assert (await driver.report(undo[0].run_id, 5)).run.status is RUNNING
    assert (await spent(store)).tokens == 15


async def test_a_budget_of_a_run_bounds_it_with_its_descendants(driver, store):
    await driver.create("root", budget=RunBudget(limit_tokens=100, on_reached="fail"))
    await driver.create("mid", parent="root", budget=RunBudget(limit_tokens=30))
    await driver.create("leaf", parent="mid")
    await driver.create("other")
    await driver.claim(limit=4)
    assert (await driver.report("other", 1_000)).run.status is RUNNING
    assert (await driver.report("leaf", 30)).run.status is WAITING  # by the budget of mid
    assert (await driver.report("root", 70)).run.status == "failed"
    found = await store.budgets.of_run(await driver.row("leaf"))
    assert [(each.budget.scope_value, each.spent.tokens) for each in found] == [("root", 100), ("mid", 30)]
    assert await store.budgets.page(PROJECT) == []


async def test_scopes_choose_runs_and_families_count_by_their_root(driver, store, budget):
    await budget(1_000, kind="target", value="task:a", period="run_family")
    await budget(1_000, kind="label", value="team:x")
    await budget(1_000, kind="key", value="ada", period="month")
    await budget(1_000, kind="schedule", value="s-1")
    await driver.create("root", target="task:a", labels=b'{"team":"x"}')
    await driver.create("child", parent="root", target="task:b", created_by="ada", schedule_id="s-1")
    await driver.report("root", 1)
    await driver.report("child", 10)
    found = await store.budgets.of_run(await driver.row("child"))
    assert [(each.budget.scope_kind, each.spent.tokens) for each in found] == [
        ("target", 11),
        ("key", 10),
        ("schedule", 10),
    ]
    assert (await spent(store, "budget-2")).tokens == 1


async def test_costs_are_exact_and_a_model_without_a_price_counts_tokens_only(driver, store, budget):
    await store.prices.put(Price(PROJECT, "acme", "m", 333_333, 0), lambda _count: None)
    await budget(limit_micros=10)
    await driver.create("run-1")
    for number in range(9):
        await driver.report("run-1", 3, call=f"c{number}")
    await driver.report("run-1", 3, model="unknown")
    one = await spent(store)
    assert (one.tokens, one.cost_micros, one.cost_rest) == (30, 8, 999_991)
    assert (await driver.row("run-1")).status is PENDING
    models = [
        {"provider": "acme", "model": "m", "inputTokens": 20},
        {"provider": "acme", "model": "unknown", "inputTokens": 10},
    ]
    await driver.complete("run-1", metadata=metadata(30, models=models))
    assert (await spent(store)).cost_micros == 6


async def test_webhooks_receive_each_share_once(driver, store, budget):
    hook = Webhook(
        "77777777-7777-4777-8777-777777777777",
        PROJECT,
        "https://a.test/in",
        ("budget.alert", "budget.reached"),
        secret_of(bytes(24)),
        1,
        1,
    )
    await store.webhooks.create(hook, lambda _count: None)
    await budget(100, "alert")
    await driver.create("run-1")
    await asyncio.gather(*(driver.report("run-1", 20, call=f"c{number}") for number in range(7)))
    found = await store.webhooks.deliveries(PROJECT, hook.id, 10)
    events = sorted((one.event_type, one.run_id) for one in found)
    assert events == [("budget.alert", "run-1"), ("budget.reached", "run-1")]


async def test_budgets_leave_with_their_run(driver, store, clock):
    for run_id in ("run-1", "run-2"):
        await driver.create(run_id, budget=RunBudget(limit_tokens=100))
        await driver.report(run_id, 5)
        await driver.complete(run_id, metadata=metadata(5))
    kept = await store.budgets.given_to(await driver.row("run-1"))
    row = await driver.row("run-1")
    assert kept.limit_tokens == 100
    await driver.delete("run-1")
    assert await store.budgets.get(PROJECT, kept.id) is None
    assert await store.budgets.of_run(replace(row)) == []
    second = await store.budgets.given_to(await driver.row("run-2"))
    clock.advance_ms(31 * DAY)
    await retention.retire(RetentionApp(store), 30 * DAY, 0)
    assert await store.budgets.get(PROJECT, second.id) is None
