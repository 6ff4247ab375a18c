"""Budgets as users see them: a handler that is stopped by a budget continues from its last step when it is approved."""

import pytest

from runstead.sdk import App, Context, RunsteadError
from runstead.testing import Testbed

app = App()
called = []


def ask(question: str) -> str:
    called.append(question)
    return question.upper()


@app.workflow("research")
async def research(ctx: Context, questions: int = 4) -> list[str]:
    answers = []
    for number in range(questions):
        answers.append(await ctx.step(f"ask {number}", ask, f"q{number}"))
        ctx.usage("acme", "large", input_tokens=100)
    return answers


@pytest.fixture
async def bed():
    called.clear()
    async with Testbed(app) as bed:
        yield bed


async def test_a_stopped_run_continues_from_its_last_step_when_it_is_approved(bed):
    run = await bed.run("workflow:research", budget={"limit": {"tokens": 200}})
    assert (run.status, run.waiting_reason) == ("waiting", "approval")
    assert run.waiting_tool_name.startswith(f'Budget "run {run.run_id}": 200 of 200 tokens')
    [budget] = (await bed.client.budgets.of_run(run.run_id)).data
    assert (budget.scope.kind, budget.current.percent, budget.current.reached) == ("run", 100, True)
    await bed.approve(run)
    done = await bed.result(run)
    assert done.output == ["Q0", "Q1", "Q2", "Q3"]
    assert called.count("q0") == called.count("q3") == 1
    usage = await bed.client.runs.usage(run.run_id)
    [budget] = (await bed.client.budgets.of_run(run.run_id)).data
    assert usage.run.input_tokens == budget.current.spent.tokens == 400  # each token once


async def test_a_raise_lets_all_runs_of_the_project_continue(bed):
    made = (await bed.client.budgets.create("project", period="day", tokens=250, on_reached="pause")).budget
    first = await bed.run(research, questions=2)
    runs = [await bed.run(research, questions=2) for _ in range(2)]
    assert first.status == "completed"
    assert [run.status for run in runs] == ["waiting", "waiting"]  # the second one before it began
    with pytest.raises(RunsteadError, match="still reached"):
        await bed.client.budgets.approve(runs[0].run_id, tokens=1)
    await bed.client.budgets.approve(runs[0].run_id, tokens=1_000)
    await bed.settle()
    assert [(await bed.get(run)).status for run in runs] == ["completed", "completed"]
    current = (await bed.client.budgets.get(made.id)).current
    assert (current.spent.tokens, current.limit.tokens, current.reached) == (600, 1_250, False)
    [listed] = (await bed.client.budgets.list()).data
    assert listed.id == made.id


async def test_a_stopped_run_ends_and_the_next_day_begins_anew(bed):
    await bed.client.budgets.create(
        "target", "workflow:research", period="day", tokens=100, on_reached="pause"
    )
    stopped, later = [await bed.run(research, questions=1) for _ in range(2)]
    assert stopped.status == "waiting"
    await bed.client.budgets.stop(stopped.run_id)
    ended = await bed.result(stopped)
    assert (ended.status, ended.error.code) == ("failed", "BUDGET_REACHED")
    assert (await bed.get(later)).status == "waiting"
    await bed.advance(days=1)
    assert (await bed.get(later)).status == "waiting"  # it began, and reached the limit of this day
    assert called == ["q0", "q0"]


async def test_a_retry_has_a_budget_like_the_first_run(bed):
    run = await bed.run("workflow:research", budget={"limit": {"tokens": 100}, "on_reached": "fail"})
    assert run.error.code == "BUDGET_REACHED"
    again = (await bed.client.runs.retry(run.run_id)).run
    await bed.settle()
    assert (await bed.get(again)).error.code == "BUDGET_REACHED"


async def test_members_are_updated_and_budgets_deleted(bed):
    budgets = bed.client.budgets
    made = (await budgets.create("label", "team:x", period="month", cost="2.5", on_reached="alert")).budget
    assert (made.limit.cost, made.name, made.current.spent.cost) == ("2.50", "label team:x per month", "0.00")
    changed = (
        await budgets.update(made.id, tokens=5, on_reached="cancel", alert_at_percent=50, name="X")
    ).budget
    assert (changed.limit.cost, changed.limit.tokens, changed.name) == (None, 5, "X")
    await budgets.delete(made.id)
    with pytest.raises(RunsteadError) as missing:
        await budgets.get(made.id)
    assert missing.value.status == 404
