"""The order of the queue, limits on running runs, and fairness among projects."""

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.runs.run import in_queue
from tests.support.examples import examples

PROJECT = "11111111-1111-4111-8111-111111111111"
FEW = settings(
    max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck), database=None
)


async def limit(driver, most=None, project_id=PROJECT, **targets):
    """limit(driver, 5, a=1): five at a time, and one of task:a."""
    named = [ConcurrencyLimit(f"task:{name}", most) for name, most in targets.items()]
    whole = [] if most is None else [ConcurrencyLimit(None, most)]
    return await driver.store.concurrency.put(project_id, [*named, *whole])


async def running(driver, project_id=PROJECT):
    return {one.limit.target: one.running for one in await driver.store.concurrency.of(project_id)}


async def task(driver, name, target="a", **fields):
    return await driver.create(name, target=f"task:{target}", **fields)


async def agent(driver, name, **fields):
    given = {"kind": "agent", "implementation_kind": "python"} | fields
    return await driver.create(name, **given)


async def push(driver, name, project_id=PROJECT, service="service-1", **fields):
    return await driver.create(name, kind="agent", push_service_id=service, project_id=project_id, **fields)


def played(drivers, play):
    """Once, over stores of its own."""
    tested, model, clock, runner = drivers()
    try:
        runner.run(play(tested, model, clock))
    finally:
        runner.run(tested.store.close())
        runner.run(model.store.close())


# Priority and delay


async def test_the_highest_priority_comes_first_then_the_oldest(driver, clock):
    for name, priority in [("old", 0), ("low", -100), ("high", 100), ("young", 0), ("high-2", 100)]:
        await driver.create(name, priority=priority)
        clock.advance_ms(1)
    assert await driver.claim_ids(limit=2) == ["high", "high-2"]
    assert await driver.claim_ids(limit=9) == ["old", "young", "low"]


async def test_delayed_runs_of_a_higher_priority_hide_no_other_run(driver, clock):
    for n in range(30):
        await driver.create(f"later-{n}", priority=10 + n % 3, available_at=clock.now + 1_000)
    await driver.create("now")
    assert await driver.claim_ids(limit=9) == ["now"]
    clock.advance_ms(1_000)
    assert [run.priority for run in await driver.claim(limit=30)] == [12] * 10 + [11] * 10 + [10] * 10


async def test_priority_holds_across_kinds_targets_and_worker_keys(driver):
    await driver.create("task", priority=1, target="task:a")
    await driver.create("eval", kind="eval", priority=2)
    await agent(driver, "anyone", priority=0)
    await agent(driver, "mine", worker_key="w", priority=3, target="agent:x")
    query = {"implementation_kind": "python", "worker_key": "w", "limit": 1}
    assert await driver.claim_ids(kinds=("task", "eval", "agent"), **query) == ["mine"]
    assert await driver.claim_ids(kinds=("task", "eval", "agent"), **query) == ["eval"]
    targets = ("task:a", "agent:x")
    assert await driver.claim_ids(kinds=("task", "agent"), targets=targets, **query) == ["task"]
    assert await driver.claim_ids(kinds=("task", "eval", "agent"), **query) == ["anyone"]


async def test_a_lost_attempt_keeps_the_priority(driver, clock):
    await driver.create("urgent", priority=5)
    await driver.claim()
    await driver.release("urgent", retry_after_ms=100)
    await driver.create("other")
    clock.advance_ms(100)
    assert await driver.claim_ids(limit=9) == ["urgent", "other"]


runs = st.lists(
    st.tuples(
        st.sampled_from((-100, -1, 0, 0, 0, 7, 100)),
        st.sampled_from((0, 0, 1, 5, 500)),
        st.sampled_from(("task", "eval")),
        st.sampled_from((None, "task:a", "task:b")),
    ),
    min_size=1,
    max_size=14,
)


@FEW
@given(made=runs, limits=st.lists(st.integers(1, 5), min_size=1, max_size=4), named=st.booleans())
def test_claims_take_what_a_sort_by_priority_age_and_number_gives(drivers, made, limits, named):
    async def play(tested, _, clock):
        for priority, delay, kind, target in made:
            await tested.create(priority=priority, available_at=clock.now + delay, kind=kind, target=target)
        clock.advance_ms(100)
        query = {"kinds": ("task", "eval")} | ({"targets": ("task:a", "task:b")} if named else {})
        expected = [
            run
            for run in sorted(await tested.rows(), key=in_queue)
            if run.available_at <= clock.now and (not named or run.target is not None)
        ]
        for size in limits:
            taken = await tested.claim_ids(limit=size, **query)
            assert taken == [run.run_id for run in expected[:size]]
            expected = expected[size:]

    played(drivers, play)


# Limits on running runs


async def test_a_project_has_no_limits_until_it_is_given_some(driver):
    assert await driver.store.concurrency.of(PROJECT) == []


async def test_limits_are_listed_with_their_usage_and_replaced_as_a_whole(driver):
    await task(driver, "run-1")
    await driver.claim()
    limits_listed = await limit(driver, 5, b=2, a=1)
    assert [(one.limit.target, one.limit.max_running, one.running) for one in limits_listed] == [
        (None, 5, 1),
        ("task:a", 1, 1),
        ("task:b", 2, 0),
    ]
    assert await driver.store.concurrency.of(PROJECT) == limits_listed
    assert await driver.store.concurrency.of("p-2") == []
    await limit(driver, c=3)
    assert await running(driver) == {"task:c": 0}
    assert await limit(driver) == []


async def test_a_claim_takes_no_more_than_the_project_may_run(driver):
    await limit(driver, 2)
    for n in range(4):
        await task(driver, f"run-{n}")
    assert await driver.claim_ids(limit=9) == ["run-0", "run-1"]
    assert await driver.claim_ids(limit=9) == []
    await driver.complete("run-0")
    assert await driver.claim_ids(limit=9) == ["run-2"]


async def test_a_target_at_its_limit_hides_no_other_target(driver):
    await limit(driver, a=1)
    for n in range(40):
        await task(driver, f"a-{n:02}", priority=9)
    await task(driver, "b", "b")
    await driver.create("none")
    await driver.create("eval", kind="eval")
    kinds = ("task", "eval")
    assert await driver.claim_ids(kinds=kinds, limit=2) == ["a-00", "b"]
    assert await driver.claim_ids(kinds=kinds, limit=9) == ["none", "eval"]
    assert await driver.claim_ids(kinds=kinds, limit=9) == []


async def test_named_targets_are_claimed_up_to_their_slots(driver):
    await limit(driver, 4, a=1, b=2)
    for n in range(3):
        for name in ("a", "b", "c"):
            await task(driver, f"{name}-{n}", name)
    targets = ("task:a", "task:b", "task:c")
    assert await driver.claim_ids(targets=targets[:2], limit=9) == ["a-0", "b-0", "b-1"]
    assert await driver.claim_ids(targets=targets, limit=9) == ["c-0"]
    await driver.complete("b-0")
    assert await driver.claim_ids(targets=targets[:1], limit=9) == []
    assert await driver.claim_ids(targets=targets, limit=9) == ["c-1"]


async def test_agent_runs_keep_to_limits_too(driver):
    query = {"kinds": ("agent",), "implementation_kind": "python", "worker_key": "w", "limit": 9}
    await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit("agent:a", 1)])
    for n in range(3):
        await agent(driver, f"a-{n}", target="agent:a", worker_key="w" if n % 2 else None)
    await agent(driver, "b", target="agent:b")
    await agent(driver, "none", target=None)
    await agent(driver, "theirs", target="agent:b", worker_key="other")
    assert await driver.claim_ids(**query) == ["a-0", "b", "none"]


async def test_zero_holds_everything_back(driver):
    await limit(driver, a=0)
    await task(driver, "a")
    assert await driver.claim_ids() == []
    await limit(driver, 0)
    await task(driver, "b", "b")
    assert await driver.claim_ids() == []
    await limit(driver)
    assert await driver.claim_ids(limit=9) == ["a", "b"]


async def test_limits_of_one_project_are_nothing_to_another(driver):
    await limit(driver, 0)
    await driver.create("theirs", project_id="p-2", target="task:a")
    assert await driver.claim_ids(project_id="p-2") == ["theirs"]


@pytest.mark.parametrize("leave", ["complete", "wait", "pause", "release", "cancel"])
async def test_a_run_that_stops_frees_its_slot(driver, leave):
    await limit(driver, 1)
    await task(driver, "run-1")
    await task(driver, "run-2")
    assert await driver.claim_ids() == ["run-1"]
    assert await running(driver) == {None: 1}
    await getattr(driver, leave)("run-1")
    assert await running(driver) == {None: 0}
    assert await driver.claim_ids() == ["run-2"]


async def test_a_resumed_run_is_claimed_when_a_slot_is_free(driver):
    await limit(driver, 1)
    await task(driver, "first")
    await driver.claim()
    await driver.wait("first")
    await driver.release("first")
    await task(driver, "second")
    assert await driver.claim_ids() == ["second"]
    await driver.resume("first")
    assert await driver.claim_ids() == []
    await driver.complete("second")
    assert await driver.claim_ids() == ["first"]


async def test_a_run_that_its_worker_held_while_it_waited_may_exceed_the_limit(driver):
    await limit(driver, 1)
    await task(driver, "first")
    await task(driver, "second")
    await task(driver, "third")
    await driver.claim()
    await driver.wait("first")
    assert await driver.claim_ids() == ["second"]
    await driver.resume("first")
    assert await running(driver) == {None: 2}
    await driver.complete("second")
    assert await driver.claim_ids() == []
    await driver.complete("first")
    assert await driver.claim_ids() == ["third"]


async def test_a_lower_limit_lets_what_runs_run_on(driver):
    for n in range(4):
        await task(driver, f"run-{n}")
    await driver.claim(limit=3)
    await limit(driver, 1)
    assert await driver.claim_ids() == []
    for n in range(2):
        await driver.complete(f"run-{n}")
        assert await driver.claim_ids() == []
    await driver.complete("run-2")
    assert await driver.claim_ids() == ["run-3"]


async def test_concurrent_claims_never_exceed_a_limit(driver):
    await limit(driver, 7, a=2)
    for n in range(30):
        await task(driver, f"run-{n}", "ab"[n % 2])
    queries = [{}, {"targets": ("task:a",)}, {"targets": ("task:a", "task:b")}]
    claims = await asyncio.gather(*(driver.claim(limit=1 + n % 3, **queries[n % 3]) for n in range(24)))
    taken = [run for found in claims for run in found]
    assert len({run.run_id for run in taken}) == len(taken) == 7
    assert Counter(run.target for run in taken)["task:a"] <= 2
    assert await running(driver) == {None: 7, "task:a": Counter(run.target for run in taken)["task:a"]}


steps = st.lists(
    st.tuples(
        st.sampled_from(("create", "create", "claim", "claim", "complete", "wait", "resume", "limit")),
        st.integers(0, 9),
        st.sampled_from(("a", "b", None)),
    ),
    min_size=5,
    max_size=25,
)


@FEW
@given(steps)
def test_every_engine_claims_under_limits_what_the_model_claims(drivers, steps):
    async def step(driver, what, number, name):
        target = None if name is None else f"task:{name}"
        if what == "create":
            await driver.create(target=target, priority=number % 3)
        elif what == "claim":
            query = {"targets": ("task:a", "task:b")} if number % 2 else {}
            return await driver.claim_ids(limit=1 + number % 4, **query)
        elif what == "limit":
            await driver.store.concurrency.put(
                PROJECT, [ConcurrencyLimit(target, number % 4)] if number else []
            )
        else:
            state = {"complete": "running", "wait": "running", "resume": "waiting"}[what]
            there = [run for run in await driver.rows() if run.status == state]
            if there:
                call = {} if what == "complete" else {"call": None}
                await getattr(driver, what)(there[number % len(there)].run_id, **call)
        return None

    async def play(tested, model, _):
        for one in steps:
            assert await step(tested, *one) == await step(model, *one)
            assert await running(tested) == await running(model)

    played(drivers, play)


# Pushes


async def test_pushes_come_by_priority_and_keep_to_limits(driver):
    await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit("agent:a", 1), ConcurrencyLimit(None, 3)])
    for n in range(3):
        await push(driver, f"a-{n}", target="agent:a", priority=n)
    for n in range(3):
        await push(driver, f"b-{n}", target="agent:b", priority=-1)
    assert [run.run_id for run in await driver.dispatch(9)] == ["a-2", "b-0", "b-1"]
    assert await driver.dispatch(9) == []
    await driver.complete("a-2")
    assert [run.run_id for run in await driver.dispatch(9)] == ["a-1"]


async def test_a_delayed_push_waits_and_hides_no_other_push(driver, clock):
    await push(driver, "later", priority=9, available_at=clock.now + 1_000)
    await push(driver, "now")
    assert [run.run_id for run in await driver.dispatch(9)] == ["now"]
    clock.advance_ms(1_000)
    assert [run.run_id for run in await driver.dispatch(9)] == ["later"]


# Delays


async def test_the_next_delayed_run_is_known_by_project_and_kind(driver, clock):
    async def soonest(*kinds, since=0):
        return await driver.runs.next_available("p-a", kinds, since)

    assert await soonest("task", "eval") is None
    await driver.create("now", project_id="p-a")
    assert await soonest("task") is None  # a claim finds it
    await driver.create("later", project_id="p-a", available_at=clock.now + 5_000, priority=7)
    await driver.create("soon", project_id="p-a", available_at=clock.now + 2_000, priority=-7)
    await driver.create("other", project_id="p-a", available_at=clock.now + 1_000, kind="eval")
    await driver.create("elsewhere", available_at=clock.now + 500, project_id="p-2")
    assert await soonest("task") == 2_000
    assert await soonest("task", "eval") == 1_000
    assert await soonest("workflow") is None
    clock.advance_ms(2_000)
    assert await soonest("task") == 3_000
    assert await soonest("task", since=250) == 0  # a claim that has just begun may have missed it
    clock.advance_ms(251)
    assert await soonest("task", since=250) == 2_749


# Fairness


async def test_a_project_with_many_pushes_does_not_starve_another(driver, clock):
    for n in range(40):
        await push(driver, f"run-{n:02}", "p-a", priority=100)
    clock.advance_ms(1_000)
    await push(driver, "only", "p-b", service="service-2")
    found = await driver.dispatch(4)
    assert [(run.project_id, run.run_id) for run in found] == [
        ("p-a", "run-00"),
        ("p-b", "only"),
        ("p-a", "run-01"),
        ("p-a", "run-02"),
    ]


async def test_each_project_has_its_turn_though_one_push_is_taken_at_a_time(driver):
    for name in ("p-a", "p-b", "p-c"):
        for n in range(3):
            await push(driver, f"run-{n}", name)
    after, served = "", []
    for _ in range(7):
        [run] = await driver.dispatch(1, after=after)
        after = run.project_id
        served.append(after)
    assert served == ["p-a", "p-b", "p-c", "p-a", "p-b", "p-c", "p-a"]


async def test_a_project_with_many_deadlines_does_not_starve_another(driver, clock):
    for n in range(40):
        await driver.create(f"run-{n:02}", project_id="p-a")
    await driver.claim(project_id="p-a", limit=40, lease_ms=5_000)
    clock.advance_ms(1_000)
    await driver.create("only", project_id="p-b")
    await driver.claim(project_id="p-b", lease_ms=5_000)
    clock.advance_ms(60_000)
    found = [(one.run.project_id, one.run.run_id) for one in await driver.enforce_deadlines(3)]
    assert found == [("p-a", "run-00"), ("p-b", "only"), ("p-a", "run-01")]
    assert len(await driver.enforce_deadlines(100)) == 38


async def test_the_queue_of_a_project_is_its_own(driver):
    for n in range(40):
        await driver.create(f"run-{n:02}", project_id="p-a", priority=100)
    await driver.create("only", project_id="p-b", priority=-100)
    assert await driver.claim_ids(project_id="p-b") == ["only"]
