"""Many commands, one transaction; and a few replicas at once."""

import asyncio

import pytest

from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.runs.append import append
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Want


async def together(*commands):
    return await asyncio.gather(*commands, return_exceptions=True)


async def test_commands_that_wait_together_share_a_commit(driver):
    before = driver.store.facts()["commits"]
    await together(*(driver.create() for _ in range(64)))
    assert driver.store.facts()["commits"] - before == 1


async def test_a_batch_holds_64_commands(driver):
    before = driver.store.facts()["commits"]
    await together(*(driver.create() for _ in range(65)))
    assert driver.store.facts()["commits"] - before == 2
    await together(*(driver.touch(f"run-{n}") for n in range(1, 66)))
    assert driver.store.facts()["commits"] - before == 4


async def test_runs_of_one_batch_are_numbered_as_they_came(driver):
    runs = await together(*(driver.create(f"run-{9 - n}") for n in range(9)))
    assert [run.seq for run in runs] == sorted(run.seq for run in runs)


async def test_what_postgres_refuses_fails_alone(driver):
    outcomes = await together(
        *(driver.create(f"run-{n}", title="\0" if n == 3 else "fine") for n in range(8))
    )
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert isinstance(refused, Error)
    assert (refused.code, "NUL" in refused.message) == ("INVALID_REQUEST", True)
    assert [run.run_id for run in await driver.rows()] == [f"run-{n}" for n in range(8) if n != 3]


async def test_a_refusal_by_a_rule_costs_the_others_nothing(driver):
    await together(*(driver.create(f"run-{n}") for n in range(8)))
    await driver.complete("run-3")
    before = driver.store.facts()["commits"]
    outcomes = await together(*(driver.wait(f"run-{n}") for n in range(8)))
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None] * 3 + ["RUN_NOT_ACTIVE"] + [
        None
    ] * 4
    assert driver.store.facts()["commits"] - before == 1


async def test_commands_for_one_run_are_decided_one_after_the_other(driver, event):
    await driver.create("run-1")
    before = driver.store.facts()["commits"]
    first, second, ended, late = await together(
        driver.append("run-1", event(n=1), after=0),
        driver.append("run-1", event(n=2), after=1),
        driver.complete("run-1"),
        driver.append("run-1", event(n=3)),
    )
    assert driver.store.facts()["commits"] - before == 1
    assert (first.run.latest_event_id, second.run.latest_event_id, ended.run.latest_event_id) == (1, 2, 3)
    assert late.code == "EVENT_RUN_TERMINAL"
    assert [logged.event_id for logged in await driver.log("run-1")] == [1, 2, 3]


async def test_a_rule_sees_the_events_that_stood_before_it_in_the_batch(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(n=0))
    seen = []

    def look(to):
        seen.extend(logged.event_id for logged in to.tail)
        return append(
            to.run,
            now=to.now,
            events=[event(n=2)],
            expected_previous_event_id=None,
            expected_sequence=None,
            tail=(),
        )

    await together(
        driver.append("run-1", event(n=1)), driver.change("run-1", look, Want(expected_previous_event_id=0))
    )
    assert seen == [1, 2]


async def test_a_parent_and_its_children_are_born_together(driver):
    _, child, grandchild = await together(
        driver.create("run-1"), driver.create("run-2", parent="run-1"), driver.create("run-3", parent="run-2")
    )
    parent = await driver.row("run-1")
    assert (parent.descendants_total, parent.descendants_active) == (2, 2)
    assert (child.path, grandchild.path) == (f"/{parent.seq}/", f"/{parent.seq}/{child.seq}/")


async def test_a_key_is_answered_once_within_a_batch(driver, idempotent):
    outcomes = await together(*(driver.create("run-1", idempotency=idempotent()) for _ in range(4)))
    assert [isinstance(outcome, ReplayedResponse) for outcome in outcomes] == [False, True, True, True]


async def test_a_wait_is_answered_once_within_a_batch(driver):
    await driver.create("run-1")
    await driver.wait("run-1")
    outcomes = await together(*(driver.resume("run-1") for _ in range(3)))
    assert [outcome.transition.duplicate for outcome in outcomes] == [False, True, True]


async def test_claims_of_one_batch_get_different_runs(driver):
    await together(*(driver.create() for _ in range(10)))
    claims = await together(*(driver.claim_ids(limit=3) for _ in range(5)))
    assert [len(claimed) for claimed in claims] == [3, 3, 3, 1, 0]
    assert len({run_id for claimed in claims for run_id in claimed}) == 10


async def test_a_run_that_is_named_in_a_batch_is_not_claimed_in_it(driver):
    await driver.create("run-1")
    _, claimed = await together(driver.complete("run-1"), driver.claim_ids())
    assert claimed == []
    assert (await driver.row("run-1")).status is RunStatus.COMPLETED


async def test_a_family_is_cancelled_beside_other_commands(driver):
    await together(driver.create("run-1"), driver.create("run-2", parent="run-1"), driver.create("other"))
    touched, cancelled = await together(driver.touch("other", title="x"), driver.cancel("run-1"))
    assert touched.run.title == "x"
    assert [run.run_id for run in cancelled.cancelled] == ["run-2"]
    assert (await driver.row("run-1")).descendants_active == 0


async def test_no_child_outlives_a_family_that_is_cancelled_elsewhere(replicas):
    first, second = await replicas(2)
    for n in range(10):
        root, middle = f"root-{n}", f"middle-{n}"
        await first.create(root)
        await first.create(middle, parent=root)
        births = (second.create(f"child-{n}-{m}", parent=middle) for m in range(10))
        outcomes = await together(
            *births, first.cancel(root), *(second.create(parent=middle) for _ in range(5))
        )
        assert {getattr(outcome, "code", "PARENT_CANCELLED") for outcome in outcomes} == {"PARENT_CANCELLED"}
        assert (await first.row(root)).descendants_active == 0
    assert {run.status for run in await first.rows()} == {RunStatus.CANCELLED}


async def test_replicas_never_claim_the_same_run(replicas):
    drivers = await replicas(3)
    await together(*(drivers[0].create() for _ in range(60)))

    async def work(driver, worker):
        taken = []
        while claimed := await driver.claim_ids(worker=worker, limit=2):
            taken += claimed
        return taken

    taken = [
        run_id
        for many in await together(*(work(d, f"w-{n}") for n, d in enumerate(drivers * 4)))
        for run_id in many
    ]
    rest = await drivers[0].claim_ids(limit=100)
    assert sorted(taken + rest) == sorted(run.run_id for run in await drivers[0].rows())


async def test_replicas_enforce_each_deadline_once(replicas):
    drivers = await replicas(3)
    await together(*(drivers[0].create(backoff_limit=0) for _ in range(50)))
    await drivers[0].claim(limit=50, lease_ms=1)
    await asyncio.sleep(0.01)  # the time is the database's
    found = [
        written
        for many in await together(*(driver.enforce_deadlines() for driver in drivers))
        for written in many
    ]
    assert len({written.run.run_id for written in found}) == len(found) == 50
    assert {run.status for run in await drivers[0].rows()} == {RunStatus.FAILED}


async def test_replicas_complete_a_run_exactly_once(replicas):
    drivers = await replicas(3)
    await drivers[0].create("run-1")
    statuses = ("completed", "failed", "cancelled")
    written = await together(*(driver.complete("run-1", status) for driver in drivers for status in statuses))
    final = await drivers[0].row("run-1")
    assert {outcome.run.status for outcome in written} == {final.status}
    assert len(await drivers[0].log("run-1")) == 1


async def test_replicas_store_one_run_for_one_id_and_one_answer_for_one_key(replicas, idempotent):
    drivers = await replicas(3)
    runs = await together(*(driver.create("run-1") for driver in drivers * 3))
    assert len({run.uid for run in runs}) == 1
    sealed_runs = await together(
        *(driver.create("run-2", idempotency=idempotent()) for driver in drivers * 3)
    )
    assert sum(not isinstance(outcome, ReplayedResponse) for outcome in sealed_runs) == 1
    assert len(await drivers[0].rows()) == 2


@pytest.mark.parametrize("targets", [("a",), ("a", "b"), ()])
async def test_a_claim_passes_over_runs_that_others_hold(patient, driver, databases, database, targets):
    """Their locks are not waited for."""
    import asyncpg

    for n, target in enumerate(("a", "b", "a", "b")):
        await driver.create(f"run-{n}", target=target)
    other = await asyncpg.connect(databases.server.url(database))
    async with other.transaction():
        await other.execute("SELECT 1 FROM runs WHERE run_id IN ('run-0', 'run-1') FOR UPDATE")
        claimed = await asyncio.wait_for(driver.claim_ids(targets=targets), 30)
    await other.close()
    assert claimed == ["run-2"]
