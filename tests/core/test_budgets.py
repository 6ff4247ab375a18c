"""Rules of budgets: sums are exact and order does not matter, a limit is never missed, no token counts twice."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core.budgets.budget import (
    Budget,
    BudgetSum,
    RunSpending,
    SumKey,
    check,
    describe,
    ends_at,
    format_micros,
    parse_micros,
    share,
    starts_at,
)
from runstead.core.budgets.counting import Spending, final_reports, flagged, spend
from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transitions import answer_of, held_back
from runstead.core.usage.price import Price, PriceList, cost
from runstead.core.usage.usage import Reported, Tokens

NOON = 1_774_008_000_000
PRICES = PriceList([Price("p", "acme", "m", 333_333, 7_777_777, 1, 9_999_999)])

counts = st.integers(0, 10**7)
reports = st.builds(
    Reported,
    provider=st.sampled_from(["acme", "other", None]),
    model=st.sampled_from(["m", "n", None]),
    input_tokens=counts | st.none(),
    output_tokens=counts | st.none(),
    cached_input_tokens=counts | st.none(),
    reasoning_tokens=counts | st.none(),
)


def budget(**members):
    given_members = {"id": "b", "project_id": "p", "name": "B", "scope_kind": "project", "period": "day"}
    return Budget(**({"limit_tokens": 1_000, "on_reached": "pause"} | given_members | members))


def spending(one, *, sums=None, of_run=None, now=NOON):
    key = SumKey(one.id, 0, starts_at(one.period, now))
    return Spending(now, ((one, key),), sums or {}, PRICES, of_run or RunSpending(1))


def exact_cost(one):
    tokens = Tokens()
    tokens.add(one)
    return (
        cost(PRICES.of(one.provider, one.model), tokens) if (one.provider, one.model) == ("acme", "m") else 0
    )


@given(st.lists(reports, max_size=8), st.lists(reports, min_size=1, max_size=3), st.data())
def test_the_sum_after_a_completion_is_that_of_the_completion_however_it_was_reported(events, final, data):
    one = budget(limit_micros=10**12)
    state = spending(one)
    while events:
        taken = data.draw(st.integers(1, len(events)))
        state = state.after(spend(state, "run", events[:taken]))
        events = events[taken:]
    state = state.after(spend(state, "run", final, final=True))
    [spent] = state.sums.values()
    assert spent.tokens == sum((each.input_tokens or 0) + (each.output_tokens or 0) for each in final)
    assert spent.exact == sum(map(exact_cost, final))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(1, 1_500), st.integers(1, 100))
def test_a_limit_and_its_alert_are_events_once_and_never_missed(amounts, limit, alert_at):
    one = budget(limit_tokens=limit, alert_at_percent=alert_at)
    state, events, total = spending(one), [], 0
    for amount in amounts:
        before = total
        spent = spend(state, "run", [Reported(input_tokens=amount)])
        state = state.after(spent)
        total += amount
        events += [event.type for event in spent.events]
        stops = state.stopping() is not None
        assert stops == (total >= limit)
        if stops and before < limit:
            assert total - limit < amount  # the spill is less than this one report
    assert events.count("budget.reached") == (total >= limit)
    assert events.count("budget.alert") <= 1
    crossed = any(
        limit > sum(amounts[: n + 1]) and sum(amounts[: n + 1]) * 100 // limit >= alert_at
        for n in range(len(amounts))
    )
    assert events.count("budget.alert") == crossed


@given(st.integers(0, 10**18))
def test_amounts_are_decimals_that_are_read_back(micros):
    text = format_micros(micros)
    if len(text.partition(".")[0]) <= 12:
        assert parse_micros(text, "cost") == micros


@pytest.mark.parametrize("text", ["", "1.", ".5", "-1", "1,5", "1.0000001", "1e3", "٣", "1\n", "1" * 13])
def test_other_forms_of_amounts_are_refused(text):
    with pytest.raises(Error, match="is a decimal as text"):
        parse_micros(text, "cost")


@given(st.integers(86_400_000, 7_258_118_400_000))
def test_a_period_contains_its_time_and_begins_and_ends_in_utc(now):
    for period in ("day", "month"):
        start = starts_at(period, now)
        end = ends_at(period, start)
        assert start <= now < end
        assert starts_at(period, end - 1) == start
        assert starts_at(period, end) == end
        begins = datetime.fromtimestamp(start / 1000, UTC)
        assert (begins.hour, begins.minute, begins.second) == (0, 0, 0)
        assert period == "day" or begins.day == 1
    assert (starts_at("run_family", now), ends_at("run_family", 0)) == (0, None)


def test_the_strictest_budget_stops_a_run_unless_it_was_approved_for_the_period():
    pause, fail = budget(id="b1"), budget(id="b2", on_reached="fail")
    alert = budget(id="b3", on_reached="alert", limit_tokens=1)
    keys = {one.id: SumKey(one.id, 0, starts_at("day", NOON)) for one in (pause, fail, alert)}
    sums = {key: BudgetSum(*key, tokens=1_000) for key in keys.values()}
    pairs = tuple((one, keys[one.id]) for one in (alert, pause, fail))

    def stopping(*approved):
        state = Spending(NOON, pairs, sums, PRICES, RunSpending(1, approved=approved))
        found = state.stopping()
        return None if found is None else found[0].id

    day = starts_at("day", NOON)
    assert stopping() == "b2"
    assert stopping(f"b2@{day}") == "b1"
    assert stopping(f"b2@{day}", f"b1@{day}") is None
    assert stopping(f"b2@{day - 86_400_000}") == "b2"
    spending = Spending(NOON, pairs, sums, PRICES, RunSpending(1))
    names = {"uid": "u", "project_id": "p", "run_id": "r", "owner_kind": "project", "owner_id": "p"}
    run = Run(kind="task", status=RunStatus.PENDING, root_run_id="r", created_at=0, updated_at=0, **names)
    assert held_back(run, spending).run.status is RunStatus.FAILED
    # No budget stops what undoes a run.
    assert held_back(replace(run, path="/1/~/"), spending) is None
    assert held_back(replace(run, path="/1/~/2/"), spending) is None


def test_a_raised_limit_is_an_event_again_when_it_is_reached_again():
    one = budget(limit_tokens=100)
    spent, event = flagged(one, BudgetSum("b", 0, 0, tokens=100), NOON)
    assert (event, spent.reached_at) == ("budget.reached", NOON)
    spent, event = flagged(one, msgspec.structs.replace(spent, raised_tokens=100), NOON + 1)
    assert (event, spent.reached_at, spent.alerted_at) == (None, None, None)
    assert flagged(one, spent.plus(60, 0), NOON + 2)[1] == "budget.alert"


def test_the_final_usage_is_that_of_each_model_if_they_are_the_whole_sum():
    whole = {"provider": "acme", "model": "m", "inputTokens": 30, "outputTokens": 0}
    each = [
        {"provider": "acme", "model": "m", "inputTokens": 20},
        {"provider": "b", "model": "n", "inputTokens": 10},
    ]

    def models(**members):
        return [one.model for one in final_reports(msgspec.json.encode({**whole, **members}))]

    assert models(models=each) == ["m", "n"]
    assert models(models=each[:1]) == models(models="large") == models() == ["m"]
    assert final_reports(b'{"usageCaptureStatus":"missing"}') == ()


@pytest.mark.parametrize(
    "members",
    [
        {"limit_tokens": None},
        {"limit_micros": 0},
        {"scope_value": "x"},
        {"scope_kind": "target"},
        {"scope_kind": "label", "scope_value": "team"},
    ],
)
def test_members_that_do_not_fit_are_refused(members):
    with pytest.raises(Error):
        check(budget(**members))


def test_sums_are_shown_for_people_and_shares_round_down():
    one = budget(limit_micros=10_000_000)
    spent = BudgetSum("b", 0, 0, tokens=1_234, cost_micros=9_999_999, cost_rest=999_999)
    assert describe(one, spent) == 'Budget "B": 9.999999 of 10.00 and 1,234 of 1,000 tokens spent today (UTC)'
    assert share(budget(limit_tokens=None, limit_micros=10_000_000), spent) == 99


@pytest.mark.parametrize(
    "result",
    [
        None,
        "yes",
        {},
        {"approved": 1},
        {"approved": False, "raise_by": {"tokens": 1}},
        {"approved": True, "raise_by": {}},
        {"approved": True, "raise_by": {"tokens": True}},
        {"approved": True, "raise_by": {"tokens": -1}},
        {"approved": True, "raise_by": {"cost": 1}},
        {"approved": True, "raise_by": {"euros": "1"}},
    ],
)
def test_other_answers_to_a_budget_are_refused(result):
    with pytest.raises(Error) as refused:
        answer_of(result)
    assert refused.value.code == "INVALID_REQUEST"


def test_answers_to_a_budget():
    assert answer_of(True).approved
    assert not answer_of({"approved": False, "reason": "no"}).approved
    raised = answer_of({"approved": True, "raise_by": {"cost": "2.5", "tokens": 7}})
    assert (raised.raise_micros, raised.raise_tokens) == (2_500_000, 7)
