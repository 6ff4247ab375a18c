"""Push services, pushed runs and signing keys, in every engine."""

import asyncio
import sqlite3
from importlib.resources import files

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.identity.signing_key import SigningKey
from runstead.core.queue.fair_share import FairShare
from runstead.core.runs.transition import Transition, Want
from runstead.engines.sqlite.migrate import _statements, migrate
from runstead.ports.store import RunKey
from tests.support.store_driver import PROJECT

OTHER = "22222222-2222-4222-8222-222222222222"


async def test_a_registration_is_stored_with_the_engines_time(store, clock, push_service):
    given = push_service(version="1", region="eu", metadata=b"{}", agent_id="scribe")
    stored = await store.push_services.register(given)
    times = dict.fromkeys(("created_at", "updated_at", "last_heartbeat_at"), clock.now)
    assert stored == replace(given, **times)
    assert await store.push_services.get("service-1") == stored
    assert await store.push_services.get("service-2") is None


async def test_the_same_registrant_and_key_update(store, clock, push_service):
    first = await store.push_services.register(push_service(version="1", region="eu"))
    clock.advance_ms(5)
    again = push_service("another-id", service_key="service-1", version="2", reach=(OTHER,))
    second = await store.push_services.register(again)
    assert (second.id, second.created_at, second.updated_at) == (first.id, first.created_at, clock.now)
    assert (second.version, second.region, second.reach) == ("2", None, (OTHER,))
    third = await store.push_services.register(
        push_service("third", service_key="service-1", registrant="user:ada")
    )
    assert third.id == "third"


async def test_silence_a_heartbeat_and_a_disabling(store, clock, push_service):
    services = store.push_services
    await services.register(push_service())
    clock.advance_ms(limits.push_service_silence_s * 1000 + 1)
    assert not (await services.get("service-1")).active
    assert (await services.heartbeat("service-1", None)).active
    first = await services.disable("service-1")
    assert (first.active, first.disabled_at) == (False, clock.now)
    clock.advance_ms(1)
    assert (await services.disable("service-1")).disabled_at == first.disabled_at
    assert not (await services.heartbeat("service-1", None)).active
    assert (await services.register(push_service())).active
    await services.disable("service-1")
    assert (await services.enable("service-1")).active
    assert await services.enable("unknown") is None
    assert await services.heartbeat("unknown", None) is None
    assert await services.disable("unknown") is None


async def test_the_last_calls_are_recorded_and_kept_by_a_registration(store, clock, push_service):
    services = store.push_services
    await services.register(push_service())
    failed = clock.now
    await services.record_call("service-1", "run-1", "The push service answered 500")
    clock.advance_ms(5)
    await services.record_call("service-1", "run-2", None)
    await services.record_call("unknown", "run-2", None)
    for stored in (await services.get("service-1"), await services.register(push_service(version="2"))):
        assert (stored.last_success_at, stored.last_success_run_id) == (clock.now, "run-2")
        assert (stored.last_error_at, stored.last_error_run_id) == (failed, "run-1")
        assert stored.last_error == "The push service answered 500"


async def test_a_deleted_service_is_gone_until_it_registers(store, push_service):
    services = store.push_services
    made = await services.register(push_service())
    assert await services.delete(made.id)
    assert await services.get(made.id) is None
    assert await services.reaching(made.reach) == []
    assert not await services.delete(made.id)
    assert (await services.register(push_service())).active


async def test_services_are_found_by_what_they_reach(store, clock, push_service):
    services, mine = store.push_services, push_service().reach
    await services.register(push_service())
    clock.advance_ms(1)
    whole = push_service("service-2", scope_kind="global", project_id=None, reach=(*mine, OTHER))
    await services.register(whole)

    async def found(*projects):
        return [one.id for one in await services.reaching(projects)]

    assert await found(*mine) == await found(*mine, OTHER) == ["service-1", "service-2"]
    assert await found(OTHER) == ["service-2"]
    await services.heartbeat("service-2", mine)
    assert await found(OTHER) == await found() == []


async def test_too_many_services_are_refused_without_a_write(store, push_service, refusal, monkeypatch):
    monkeypatch.setattr(limits, "push_services_per_project_max", 1)
    await store.push_services.register(push_service())
    assert await refusal(store.push_services.register(push_service("service-2"))) == "TOO_MANY_PUSH_SERVICES"
    assert await store.push_services.get("service-2") is None
    await store.push_services.register(push_service(version="2"))


async def test_a_repeated_registration_is_replayed(store, push_service, idempotent):
    await store.push_services.register(push_service(), idempotent())
    with pytest.raises(Exception, match="202"):
        await store.push_services.register(push_service(version="2"), idempotent())
    assert (await store.push_services.get("service-1")).version is None


async def test_a_decision_learns_which_service_gets_the_runs_of_an_agent(driver, push_service):
    await driver.store.push_services.register(push_service(agent_id="scribe"))
    seen = []

    def decide(loaded):
        seen.append(loaded.push_service_id)
        return Transition(loaded.run)

    await driver.create("run-1")
    for want in (Want(push_agent="scribe"), Want(push_agent=""), Want(push_agent="other"), Want()):
        await driver.runs.apply(driver.key("run-1"), decide, want)
    assert seen == ["service-1", None, None, None]


async def pushed(driver, name, service="service-1", **fields):
    return await driver.create(name, kind="agent", push_service_id=service, **fields)


async def test_the_oldest_due_runs_are_dispatched_once(driver, clock):
    for name in ("a", "b", "c"):
        await pushed(driver, name)
        clock.advance_ms(1)
    await pushed(driver, "later", available_at=clock.now + 100)
    await driver.create("task")
    assert [run.run_id for run in await driver.dispatch(2)] == ["a", "b"]
    assert [run.run_id for run in await driver.dispatch(9)] == ["c"]
    assert await driver.dispatch(9) == []
    clock.advance_ms(100)
    assert [run.run_id for run in await driver.dispatch(9)] == ["later"]


async def test_concurrent_dispatchers_never_get_the_same_run(driver):
    for number in range(12):
        await pushed(driver, f"run-{number}")
    found = await asyncio.gather(*(driver.dispatch(3) for _ in range(8)))
    ids = [run.run_id for lot in found for run in lot]
    assert len(ids) == len(set(ids)) == 12


async def test_a_busy_services_runs_are_passed_over(driver):
    await pushed(driver, "a", "slow")
    await pushed(driver, "b", "quick")
    assert [run.run_id for run in await driver.dispatch(9, ("slow",))] == ["b"]
    assert [run.run_id for run in await driver.dispatch(9)] == ["a"]


async def test_services_that_reach_the_project_are_handed_to_the_decision(driver, push_service):
    await driver.store.push_services.register(push_service())
    await driver.store.push_services.register(push_service("service-2", reach=(OTHER,)))
    await pushed(driver, "a")
    seen = []

    def decide(run, _now, services):
        seen.extend(one.id for one in services)
        return Transition(run, accepted=False)

    await driver.runs.dispatch(FairShare(1), decide)
    assert seen == ["service-1"]


async def test_no_worker_claims_what_is_pushed(driver):
    await pushed(driver, "a")
    query = {"kinds": ("agent", "task"), "implementation_kind": "python", "targets": ()}
    assert await driver.claim(**query) == []


async def test_a_cancelled_run_that_was_deleted_is_not_stopped_any_more(driver):
    await pushed(driver, "a")
    await driver.dispatch(1)
    await driver.cancel("a")
    await driver.delete("a")
    assert await driver.runs.cancelled_pushes(FairShare(9)) == []


async def test_no_project_dispatches_or_stops_more_runs_than_its_share(driver):
    for name in ("a", "b", "c"):
        await pushed(driver, name)
    assert await driver.dispatch(9, per_project=2, held={PROJECT: 2}) == []
    assert len(await driver.dispatch(9, per_project=2, held={PROJECT: 1})) == 1
    assert len(await driver.dispatch(9, per_project=5, held={PROJECT: 1})) == 2
    await driver.cancel("a")
    assert await driver.runs.cancelled_pushes(FairShare(9, per_project=2, held={PROJECT: 2})) == []
    assert len(await driver.runs.cancelled_pushes(FairShare(9, per_project=2, held={PROJECT: 1}))) == 1


async def test_cancelled_runs_are_found_until_they_have_stopped(driver, clock):
    for name in ("a", "b", "never-sent"):
        await pushed(driver, name)
        if name != "never-sent":
            await driver.dispatch(1)
        await driver.cancel(name)
        clock.advance_ms(1)

    async def found(*busy, limit=9):
        return [run.run_id for run in await driver.runs.cancelled_pushes(FairShare(limit, busy=busy))]

    assert await found() == ["a", "b"]
    assert await found(limit=1) == ["a"]
    assert await found("service-1") == []
    await driver.stopped_by_service("a")
    assert await found() == ["b"]


async def test_a_dispatch_that_is_refused_harms_no_run(driver):
    await pushed(driver, "a")

    def decide(_run, _now, _services):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await driver.runs.dispatch(FairShare(1), decide)
    assert [run.run_id for run in await driver.dispatch(1)] == ["a"]


# Signing keys


def key(kid, at, algorithm="EdDSA"):
    return SigningKey(kid, algorithm, f"pem of {kid}", at)


async def test_the_first_keys_win_and_later_ones_join(store):
    keys = store.signing_keys
    assert await keys.all() == []
    first = [key("a", 1), key("b", 1, "RS256")]
    assert await keys.add(first, only_first=True) == first
    assert await keys.add([key("c", 2)], only_first=True) == first
    assert [one.kid for one in await keys.add([key("d", 3)], only_first=False)] == ["a", "b", "d"]


async def test_only_the_newest_keys_are_kept(store, monkeypatch):
    monkeypatch.setattr(limits, "signing_keys_max", 2)
    for number in range(4):
        await store.signing_keys.add([key(f"k{number}", number)], only_first=False)
    await store.signing_keys.add([key("r", 0, "RS256")], only_first=False)
    assert [one.kid for one in await store.signing_keys.all()] == ["r", "k2", "k3"]


async def test_many_replicas_agree_on_the_first_keys(store):
    lots = await asyncio.gather(
        *(store.signing_keys.add([key(f"k{n}", n)], only_first=True) for n in range(8))
    )
    assert all(lot == lots[0] for lot in lots)
    assert len(lots[0]) == 1


# A store of before


async def test_a_store_of_the_first_version_is_taken_over_with_its_runs(tmp_path, clock):
    from runstead.engines.sqlite.store import SqliteStore

    path = tmp_path / "old.db"
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)")
    first = (files("runstead.engines.sqlite") / "migrations" / "0001_the_spine.sql").read_text()
    for statement in _statements(first):
        old.execute(statement)
    old.execute("INSERT INTO schema_migrations VALUES ('0001_the_spine', 0)")
    columns = {
        "uid": "u",
        "project_id": OTHER,
        "run_id": "old",
        "kind": "agent",
        "status": "pending",
        "owner_kind": "conversation",
        "owner_id": "c",
        "root_run_id": "old",
        "path": "/",
        "latest_event_id": 0,
        "version": 1,
        **dict.fromkeys(("created_at", "updated_at", "descendants_total", "descendants_active"), 0),
        **dict.fromkeys(("attempt", "attempts_lost", "latest_external_event_sequence"), 0),
    }
    marks = ", ".join("?" * len(columns))
    old.execute(f"INSERT INTO runs ({', '.join(columns)}) VALUES ({marks})", list(columns.values()))
    assert "0003_push_services" in migrate(old)
    old.close()
    store = SqliteStore(path, clock)
    await store.open()
    run = await store.runs.get(RunKey(OTHER, "old"))
    assert (run.push_service_id, run.push_failures, run.status.value) == (None, 0, "pending")
    assert await store.runs.dispatch(FairShare(9), lambda *_: None) == []
    await store.close()


async def test_a_service_that_is_not_heard_of_falls_silent_once_until_it_is_heard_of_again(
    store, clock, push_service
):
    services = store.push_services
    await services.register(push_service("service-1"))
    clock.advance_ms(5)
    await services.register(push_service("service-2"))
    await services.register(push_service("disabled"))
    await services.disable("disabled")
    clock.advance_ms(limits.push_service_silence_s * 1000)
    [silent] = await services.fell_silent(10)
    assert silent == await services.get("service-1")
    assert not silent.active
    clock.advance_ms(1)
    assert [one.id for one in await services.fell_silent(10)] == ["service-2"]
    assert await services.fell_silent(10) == []
    await services.heartbeat("service-1", None)
    await services.register(push_service("another-id", service_key="service-2"))
    assert await services.fell_silent(10) == []
    clock.advance_ms(limits.push_service_silence_s * 1000 + 1)
    assert len(await services.fell_silent(1)) == 1
    assert len(await services.fell_silent(10)) == 1
