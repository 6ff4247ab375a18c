"""The runs that workers hold."""

from runstead.core.runs.run import RunStatus

from .conftest import PROJECT


async def held(driver, *owners, looked_max=100, project_id=PROJECT):
    found = await driver.store.workers.held(project_id, owners, looked_max)
    return [(one.owner, one.run_id) for one in found]


async def test_what_is_claimed_is_held_until_the_attempt_ends(driver, clock):
    await driver.create("run-1", target="task:a", title="One")
    await driver.claim("ann")
    (one,) = await driver.store.workers.held(PROJECT, ["ann"], 100)
    assert (one.owner, one.run_id, one.title, one.target) == ("ann", "run-1", "One", "task:a")
    assert (one.status, one.attempt) == (RunStatus.RUNNING, 1)
    assert (one.attempt_started_at, one.lease_expires_at) == (clock.now, clock.now + 60_000)
    await driver.complete("run-1")
    assert await held(driver, "ann") == []


async def test_what_is_let_go_or_lost_is_held_no_more(driver, clock):
    for run_id in ("released", "lost"):
        await driver.create(run_id)
    await driver.claim("ann", limit=2)
    await driver.release("released")
    assert await held(driver, "ann") == [("ann", "lost")]
    clock.advance_ms(60_001)
    await driver.enforce_deadlines()
    assert await held(driver, "ann") == []


async def test_only_runs_of_the_named_owners_are_listed_oldest_attempt_first(driver, clock):
    for run_id, worker in (("run-1", "bob"), ("run-2", "ann"), ("run-3", "cid"), ("run-4", "ann")):
        await driver.create(run_id)
        clock.advance_ms(10)
        await driver.claim(worker)
    assert await held(driver, "ann", "bob") == [("bob", "run-1"), ("ann", "run-2"), ("ann", "run-4")]
    assert await held(driver, "unknown") == await held(driver) == []


async def test_runs_of_other_projects_are_not_listed(driver):
    await driver.create("elsewhere", project_id="other")
    await driver.claim("ann", project_id="other")
    assert await held(driver, "ann") == []
    assert await held(driver, "ann", project_id="other") == [("ann", "elsewhere")]


async def test_a_run_that_waits_under_its_lease_is_held(driver):
    await driver.create("run-1")
    await driver.claim("ann")
    await driver.wait("run-1")
    (one,) = await driver.store.workers.held(PROJECT, ["ann"], 100)
    assert one.status is RunStatus.WAITING


async def test_a_cancelled_run_is_held_until_its_worker_stops(driver):
    await driver.create("run-1")
    await driver.claim("ann")
    await driver.cancel("run-1")
    (one,) = await driver.store.workers.held(PROJECT, ["ann"], 100)
    assert one.status is RunStatus.CANCELLED
    await driver.release("run-1", worker="ann")
    assert await held(driver, "ann") == []


async def test_a_run_that_was_sent_to_a_service_is_held_by_it(driver, clock):
    await driver.create("run-1", kind="agent", push_service_id="service-1", conversation_id="c-1")
    await driver.start("run-1")
    await driver.dispatch()
    assert await held(driver, "service-1") == [("service-1", "run-1")]


async def test_no_more_deadlines_are_looked_at_than_were_asked_for(driver, clock):
    for number in range(3):
        await driver.create(f"run-{number}")
        clock.advance_ms(10)
        await driver.claim("ann")
    assert await held(driver, "ann", looked_max=2) == [("ann", "run-0"), ("ann", "run-1")]
