"""Every test of a store runs against every engine. `driver` gives the commands of a run over an empty, open store."""

import asyncio
import itertools

import msgspec
import pytest

from runstead.commands.keys import make_key
from runstead.core.alerts.alert import Alert, Measurement
from runstead.core.audit import Audit, ObjectName
from runstead.core.batches.bulk_job import BulkJob, BulkRun
from runstead.core.budgets.budget import Budget
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import DEFAULT_SCOPES
from runstead.core.identity.project import Member, Project, new_key
from runstead.core.identity.quota import Quota
from runstead.core.identity.signing_key import SigningKey
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.queue.rate import Rate
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import Session, Worker
from runstead.core.replica import Replica
from runstead.core.runs.bus_event import BusEvent
from runstead.core.runs.flow import Flow
from runstead.core.runs.saved_view import SHARED, SavedView
from runstead.core.runs.signal import AwaitedEvent
from runstead.core.runs.transition import NewMessage
from runstead.core.schedules.schedule import Schedule
from runstead.core.schedules.trigger import Trigger, new_token, token_hash
from runstead.core.usage.price import Price
from runstead.core.webhooks.webhook import Webhook, secret_of
from runstead.engines.sqlite.store import SqliteStore
from tests.support import kept_sessions
from tests.support.clock import Clock
from tests.support.model import ModelStore
from tests.support.store_driver import PROJECT, StoreDriver, event, idempotent, push_service, refusal, setting

ENGINES = ("sqlite", "postgres")
AGENT = {"kind": "agent", "implementation_kind": "python", "conversation_id": "c-1"}


async def furnish(store):
    """What stands beside runs."""
    project = Project(PROJECT, "inventory", "Inventory", 1)
    member = Member(PROJECT, "ada", "admin", 1)
    key = make_key(new_key(), PROJECT, DEFAULT_SCOPES, name="key")
    await store.identity.create_project(project, member, key)
    await store.identity.remove_member(PROJECT, "eve", lambda _counts: None)
    count = TargetDefinition(target="task:count", input_schema=b"{}", validate_input=True)
    worker = Worker("w-1", PROJECT, "python", "k-1", 1, 1)
    await store.workers.register(worker, b"\x00token", targets=[count])
    timing = Schedule(
        "55555555-5555-4555-8555-555555555555", PROJECT, "Nightly", "task", "count", "0 3 * * *", 1, 1
    )
    await store.schedules.create(PROJECT, lambda _count, _now: timing)
    hook = Webhook(
        "77777777-7777-4777-8777-777777777777",
        PROJECT,
        "https://a.test/in",
        ("*",),
        secret_of(bytes(24)),
        1,
        1,
        old_secret=secret_of(bytes(25)),
        old_secret_until=2,
    )
    await store.webhooks.create(hook, lambda _count: None)
    rule = Alert(
        "99999999-9999-4999-8999-999999999999", PROJECT, "Workers", "worker_silent", 1, 1, 1.0, muted_at=1
    )
    rule = await store.alerts.create(rule, lambda _count: None)
    await store.alerts.evaluate([(rule, Measurement(1))])  # it fires
    spendable = Budget(
        id="bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
        project_id=PROJECT,
        name="Day",
        scope_kind="project",
        period="day",
        limit_tokens=10**9,
        on_reached="pause",
    )
    await store.budgets.create(spendable, lambda _count: None)
    trigger = Trigger(
        "88888888-8888-4888-8888-888888888888", PROJECT, "push", "task:build", token_hash(new_token()), 1, 1
    )
    await store.triggers.create(trigger, lambda _count: None)
    await store.concurrency.put(
        PROJECT,
        [
            ConcurrencyLimit("task:rare", 1, rate=Rate(9, 1)),
            ConcurrencyLimit("task:t", rate=Rate(10**6, 86_400, unit="tokens")),
            ConcurrencyLimit(None, rate=Rate(999, 1)),
        ],
    )
    published = BusEvent(
        project_id=PROJECT,
        event_id="e-1",
        name="paid",
        data=b"{}",
        digest=b"d",
        occurred_at=1,
        created_at=1,
        kept_until=1 << 40,
    )
    await store.bus_events.add(published, 1_000)
    await store.saved_views.put(SavedView(PROJECT, SHARED, "failed", "status=failed", 1), lambda _count: None)
    job = BulkJob(
        id="b-1",
        project_id=PROJECT,
        action="cancel",
        status="running",
        total=1,
        created_at=1,
        updated_at=1,
        caller=b"{}",
        filter=b"{}",
    )
    await store.bulk_jobs.create(job, [BulkRun("root", "u-1")], lambda _count: None)
    await store.push_services.register(push_service())
    browser = BrowserSession("browser", b"hash", b"sealed", "user:ada", "Firefox", 1, 1, 10**13)
    await store.browser_sessions.add(lambda _now: browser)
    await store.prices.put(Price(PROJECT, "acme", "*", 1, 2), lambda _count: None)
    await store.quotas.put(Quota(project_id=PROJECT, streams=5, runs_pending=7))
    recorded = Audit(
        action="session.refuse",
        actor_kind="unknown",
        actor_id="",
        projects=(PROJECT,),
        object=ObjectName("key", "k-1"),
    )
    await store.audit.add(recorded)
    await store.replicas.note(Replica("host/1/ff", "host", 1, "http://a.test", "1"))
    await store.signing_keys.add([SigningKey("kid", "EdDSA", "pem", 1)], only_first=True)


async def live(driver):
    """Everything happens that leaves a row."""
    await furnish(driver.store)
    await driver.store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    await driver.store.conversations.add_message(StoredMessage("m-0", "c-1", "user", 0, 0, parts=b"[]"))
    await driver.create("root")
    await driver.append("root", event(), event("AGENT_RUN_MODEL_CALL_CONTEXT"), event())
    message = {"message": NewMessage("m-1", "c-1", None), "agent": msgspec.json.encode({"message_id": "m-1"})}
    agent = await driver.create("agent", parent="root", **AGENT, **message)
    await driver.create("leaf", parent="agent")
    await driver.claim("ann", kinds=("agent",), implementation_kind="python")
    session = Session("s", "agent", "python", "ann", "key", "active", 0, 0)
    await driver.store.workers.put_session(agent.seq, session)
    await driver.append("agent", event(key="k"), event())
    await driver.ask("agent", "i-1")
    await driver.respond("agent", "i-1", secrets="encrypted")
    await driver.release("agent", retry_after_ms=0)
    await driver.claim("bob", kinds=("agent",), implementation_kind="python")
    await driver.append("leaf", event())
    await driver.ask("agent", "i-2", call="call-2")
    await driver.complete("leaf", "failed", error_message="it broke")
    long = "long " * 2_000  # enough to be compressed
    await driver.create("done", input=msgspec.json.encode(long))
    await driver.append("done", event(), event(told=long), event())
    await driver.complete("done", logs=long)
    await driver.create("queued", idempotency=idempotent())
    await driver.create_batch("batched-1", "batched-2", batch_id="66666666-6666-4666-8666-666666666666")
    await driver.complete("batched-1")
    await driver.create("leased")
    await driver.append(
        "leased", setting("run.progress", fraction=0.5), setting("run.value", name="stage", value=1)
    )
    await driver.report("leased", 5)
    for name in ("paid", "sent"):
        await driver.signal("leased", name)
    await driver.compensate("leased")
    await driver.wait("leased", "event", events=(AwaitedEvent("paid"),))
    await driver.claim("ann", limit=1)
    await driver.create("rated", target="task:t")
    await driver.report("rated", 5)
    await driver.create("awaiting")
    await driver.wait("awaiting", "event", events=(AwaitedEvent("shipped", "call-1", {"order": 7}),))
    for run_id in ("gone-parent", "gone"):
        parent = "gone-parent" if run_id == "gone" else None
        await driver.create(run_id, parent=parent, artifacts=b'[{"name":"a"}]', artifact_bytes=3)
        await driver.append(run_id, event())
        await driver.complete(run_id)
    await driver.delete("gone")
    await driver.store.rollups.add_entries(2)
    await driver.create("keyed", target="task:keyed", flow=Flow(concurrency_key="k"), held=("u-1",))
    await driver.create("cancelled")
    await driver.create("cancelled-child", parent="cancelled")
    await driver.cancel("cancelled")


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def new_store(engine, tmp_path, request):
    """new_store(clock): an empty store of the engine, not open yet."""
    if engine == "postgres":
        return request.getfixturevalue("postgres_store")
    numbers = itertools.count()
    sqlite_store = request.getfixturevalue("sqlite_store")
    return lambda clock: sqlite_store(tmp_path / f"{next(numbers)}.db", clock)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(new_store, clock):
    store = new_store(clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def driver(store, clock):
    return StoreDriver(store, clock)


@pytest.fixture
async def populated_store(driver):
    """A driver over a store in which everything has happened that leaves a row."""
    await live(driver)
    return driver


@pytest.fixture
async def driver_at(clock):
    """driver_at(path): over a SQLite file that may be there already."""
    opened = []

    async def open_at(path):
        store = SqliteStore(path, clock, synchronous="OFF")
        await store.open()
        opened.append(store)
        return StoreDriver(store, clock)

    yield open_at
    for store in opened:
        await store.close()


@pytest.fixture(name="event")
def event_fixture():
    """event(type, **members): one that a client appends."""
    return event


@pytest.fixture(name="idempotent")
def idempotent_fixture():
    return idempotent


@pytest.fixture(name="push_service")
def push_service_fixture():
    """push_service(id, **fields): one that a store has not seen yet."""
    return push_service


@pytest.fixture(name="refusal")
def refusal_fixture():
    return refusal


@pytest.fixture(scope="session")
def runner():
    """A loop for tests that generate their commands one by one."""
    runner = asyncio.Runner()
    loop = runner.get_loop()
    kept_sessions.keep(loop)
    yield runner
    kept_sessions.forget(loop)
    loop.close()  # the runner would run it once more, which cannot be done while the browser's loop runs


@pytest.fixture
def drivers(new_store, runner):
    """drivers(): two drivers on one clock, over the engine under test and over memory as the model; the clock; a runner."""

    def both():
        clock = Clock()
        tested, model = new_store(clock), ModelStore(clock)
        runner.run(tested.open())
        runner.run(model.open())
        return StoreDriver(tested, clock), StoreDriver(model, clock), clock, runner

    return both
