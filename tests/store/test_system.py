"""What an administrator sees of the servers and the store, over every store."""

import pytest

from runstead import __version__
from runstead.commands import system
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, DEFAULT_SCOPES, Principal
from runstead.core.identity.project import Project
from runstead.core.leadership import Lead
from runstead.core.replica import Replica
from runstead.engines.notifiers.local import LocalNotifier
from runstead.ports.store import Depth

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
ADMIN = Principal("api_key", "k", {PROJECT: ALL_SCOPES, ELSEWHERE: DEFAULT_SCOPES}, system=True)
SILENCE = limits.replica_silence_s * 1000


def replica(name="a"):
    return Replica(f"host-{name}/1/ff", f"host-{name}", 1, "http://127.0.0.1:8720", "1.0.0")


async def test_a_server_is_there_from_its_first_word_on(store, clock):
    first = await store.replicas.note(replica("a"))
    began = clock.now
    assert (first.started_at, first.seen_at) == (began, began)
    clock.advance_ms(10_000)
    second = await store.replicas.note(replica("b"))
    again = await store.replicas.note(replica("a"))
    assert (again.started_at, again.seen_at) == (began, clock.now)
    assert await store.replicas.all() == [again, second]


async def test_a_server_that_is_silent_is_forgotten(store, clock):
    await store.replicas.note(replica("a"))
    clock.advance_ms(SILENCE - 1)
    assert len(await store.replicas.all()) == 1
    clock.advance_ms(1)
    assert await store.replicas.all() == []
    second = await store.replicas.note(replica("b"))
    assert await store.replicas.all() == [second]
    back = await store.replicas.note(replica("a"))
    assert back.started_at == clock.now


async def test_a_server_that_stops_leaves(store):
    await store.replicas.note(replica("a"))
    other = await store.replicas.note(replica("b"))
    await store.replicas.leave(replica("a").id)
    await store.replicas.leave("unknown")
    assert await store.replicas.all() == [other]


async def test_the_leader_is_shown_without_an_election(store, clock):
    assert (await store.leadership.held()).owner is None
    lead = await store.leadership.lead("a", 6_000)
    assert await store.leadership.held() == lead
    clock.advance_ms(6_000)
    assert await store.leadership.held() == Lead(lead.term)
    assert (await store.leadership.lead("b", 6_000)).term == lead.term + 1
    await store.leadership.resign("b")
    assert (await store.leadership.held()).owner is None


@pytest.fixture
async def busy(driver, clock):
    """Of the project: 2 available, 1 delayed, 1 running, 1 waiting, 1 completed; elsewhere 1 available."""
    for run_id in ("running", "waiting", "done"):
        await driver.create(run_id)
        await driver.claim(limit=1)
    await driver.wait("waiting")
    await driver.complete("done")
    await driver.create("now")
    await driver.create("also")
    await driver.create("later", available_at=clock.now + 1_000)
    await driver.create("elsewhere", project_id=ELSEWHERE)
    return driver


async def test_what_is_queued_and_under_way_is_counted_by_project(busy, store, clock):
    asked = [ELSEWHERE, PROJECT, "unknown"]
    assert await store.statistics.depths(asked, 100) == [
        Depth(ELSEWHERE, 1, 0, 0, 0),
        Depth(PROJECT, 2, 1, 1, 1),
        Depth("unknown", 0, 0, 0, 0),
    ]
    clock.advance_ms(1_000)
    assert await store.statistics.depths([PROJECT], 100) == [Depth(PROJECT, 3, 0, 1, 1)]
    assert await store.statistics.depths([], 100) == []


async def test_counts_stop_at_the_bound(busy, store):
    for n in range(3):
        await busy.create(f"more-{n}")
    (depth,) = await store.statistics.depths([PROJECT], 2)
    assert (depth.available + depth.delayed, depth.running, depth.waiting) == (2, 1, 1)
    await busy.claim(limit=3)
    (depth,) = await store.statistics.depths([PROJECT], 2)
    assert depth.running == 2


@pytest.fixture
async def app(store):
    for project_id, slug in ((PROJECT, "inventory"), (ELSEWHERE, "elsewhere")):
        await store.identity.create_project(Project(project_id, slug, slug.title(), 1), None, None)
    return App(store, LocalNotifier())


async def test_an_administrator_sees_the_servers_and_their_own_projects(app, busy, engine):
    app = App(app.store, app.notifier, replica=replica("a"))
    assert await system.note_replica(app) == 1
    own = await app.store.replicas.note(app.replica)
    other = await app.store.replicas.note(replica("b"))
    await app.store.leadership.lead(other.id, 6_000)
    shown = await system.get(app, ADMIN)
    assert (shown.version, shown.engine, shown.leader) == (__version__, engine, other.id)
    assert (shown.replica, shown.leads) == (own.id, False)
    assert sorted(shown.replicas, key=lambda one: one.id) == [own, other]
    assert shown.facts["commits"] > 0
    assert [(one.project.slug, one.depth) for one in shown.depths] == [
        ("inventory", Depth(PROJECT, 2, 1, 1, 1))
    ]
    assert (shown.projects_left_out, shown.counted_to) == (0, limits.statistics_runs_max)


async def test_only_so_many_projects_are_counted(app, busy, monkeypatch):
    monkeypatch.setattr(limits, "statistics_projects_max", 1)
    both = {PROJECT: ALL_SCOPES, ELSEWHERE: ALL_SCOPES}
    shown = await system.get(app, Principal("user", "ada", both, system=True))
    assert (len(shown.depths), shown.projects_left_out) == (1, 1)


async def test_the_address_of_the_store_holds_no_secret(store):
    assert store.address
    assert "@" not in store.address


async def test_without_a_registered_server_there_are_no_replicas(app):
    assert await system.note_replica(app) == 0
    shown = await system.get(app, ADMIN)
    assert (shown.replica, shown.leader, shown.replicas) == (None, None, [])


async def test_an_administrator_without_projects_sees_no_queues(app, busy):
    shown = await system.get(app, Principal("user", "ada", {}, system=True))
    assert (shown.depths, shown.projects_left_out) == ([], 0)


async def test_an_admin_of_projects_alone_does_not_see_the_system(app):
    member = Principal("user", "eve", {PROJECT: DEFAULT_SCOPES})
    admin = Principal("user", "ada", {PROJECT: ALL_SCOPES, ELSEWHERE: ALL_SCOPES})
    for principal in (member, admin):
        with pytest.raises(Error) as caught:
            await system.get(app, principal)
        assert caught.value.code == "FORBIDDEN"


async def test_the_oldest_available_run_of_each_target_has_its_age(busy, store, clock):
    for project_id, slug in ((PROJECT, "inventory"), (ELSEWHERE, "elsewhere")):
        await store.identity.create_project(Project(project_id, slug, slug.title(), 1), None, None)
    clock.advance_ms(500)
    await busy.create("first", target="task:a", priority=-1)
    clock.advance_ms(200)
    await busy.create("second", target="task:a", priority=5)
    clock.advance_ms(100)
    measured = await store.statistics.measured(10, 100, 10)
    plain = {(age.project, age.target): age.age_ms for age in measured.ages}
    assert plain.pop(("inventory", "task:a")) == 300
    assert {project: age for (project, _), age in plain.items()} == {"inventory": 800, "elsewhere": 800}
    assert dict(measured.depths) == {
        "inventory": Depth(PROJECT, 4, 1, 1, 1),
        "elsewhere": Depth(ELSEWHERE, 1, 0, 0, 0),
    }
    bounded = await store.statistics.measured(1, 100, 1)
    assert (len(bounded.depths), len(bounded.ages)) == (1, 1)


async def test_the_store_has_a_size_and_its_pools_are_idle(store):
    sizes = await store.sizes()
    assert sizes.database > 0
    assert sizes.wal is None or sizes.wal >= 0
    pools = store.pools()
    assert {"point", "scan"} <= {pool.name for pool in pools}
    assert all(pool.size > 0 and (pool.used, pool.waiting) == (0, 0) for pool in pools)
