"""Retention deletes old families as a whole, and nothing that is still read."""

import msgspec
import pytest

from runstead.commands import retention
from runstead.commands.check import check
from runstead.commands.projections import Projections
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation, Outcome, StoredMessage, delete as deleted
from runstead.core.runs.transition import NewMessage

PROJECT = "11111111-1111-4111-8111-111111111111"
DAY = 86_400_000
AGENT = {"kind": "agent", "implementation_kind": "python", "conversation_id": "c-1"}


class App:
    """As much of the application as retention needs."""

    def __init__(self, store):
        self.store = store
        self.projections = Projections(store)


@pytest.fixture
def retire(store):
    """retire(): delete what ended more than 30 days ago; return the number of runs."""

    async def everything():
        app, count, after = App(store), 0, 0
        while after is not None:
            found, after = await retention.retire(app, 30 * DAY, after)
            count += found
        return count

    return everything


@pytest.fixture(autouse=True)
async def sound(store):
    yield
    assert [violation async for violation in check(store)] == []


async def ids(driver):
    return [run.run_id for run in await driver.rows()]


async def family(driver, event, name, *, ended=True):
    await driver.create(name)
    await driver.append(name, event())
    for below, parent in ((f"{name}.1", name), (f"{name}.2", name), (f"{name}.1.1", f"{name}.1")):
        await driver.create(below, parent=parent)
        await driver.append(below, event(key="k"))
        if ended or below != f"{name}.1.1":
            await driver.complete(below)
    await driver.complete(name)


async def test_families_leave_once_their_root_ended_long_enough_ago(driver, clock, event, retire):
    await family(driver, event, "old")
    clock.advance_ms(DAY)
    await family(driver, event, "younger")
    clock.advance_ms(29 * DAY)
    assert await retire() == 0
    clock.advance_ms(1)
    assert await retire() == 4
    assert set(await ids(driver)) == {"younger", "younger.1", "younger.2", "younger.1.1"}
    clock.advance_ms(30 * DAY)
    assert await retire() == 4
    assert await ids(driver) == []


async def test_nothing_leaves_while_anything_in_its_family_is_active(driver, clock, event, retire):
    await family(driver, event, "busy", ended=False)
    await driver.create("pending")
    clock.advance_ms(90 * DAY)
    assert await retire() == 0
    await driver.complete("busy.1.1")
    assert await retire() == 4, "it counts from the end of the root"
    assert await ids(driver) == ["pending"]


async def test_a_large_family_leaves_piece_by_piece(driver, clock, event, retire, monkeypatch):
    for name in ("a", "b", "c"):
        await family(driver, event, name)
    clock.advance_ms(31 * DAY)
    for rows in (1, 3, 5):
        monkeypatch.setattr(limits, "retention_rows_per_tick_max", rows)
        monkeypatch.setattr(limits, "retention_runs_max", 2)
        app = App(driver.store)
        count, _ = await retention.retire(app, 30 * DAY, 0)
        assert count == rows
        remaining = await ids(driver)
        assert [violation async for violation in check(driver.store)] == []
        for name in remaining:  # every remaining run has its parent and correct counters
            row = await driver.row(name)
            assert row.descendants_total == sum(other.startswith(f"{name}.") for other in remaining)
    monkeypatch.setattr(limits, "retention_roots_checked_max", 2)
    assert await retire() == 12 - 9
    assert await ids(driver) == []


async def test_a_family_that_came_to_life_again_stays(driver, clock, event):
    await family(driver, event, "again")
    clock.advance_ms(31 * DAY)
    page = await driver.store.retention.candidates(30 * DAY, 0, 2)
    assert len(page.runs) == 2
    await driver.create("again.3", parent="again")
    runs = [(candidate, None) for candidate in page.runs]
    assert await driver.store.retention.retire(30 * DAY, runs) == 0
    await driver.complete("again.3")
    assert await driver.store.retention.retire(30 * DAY, runs) == 2
    assert await driver.store.retention.retire(30 * DAY, runs) == 0, "they are gone already"


async def test_a_root_is_not_deleted_without_its_children(driver, clock, event):
    await family(driver, event, "root")
    clock.advance_ms(31 * DAY)
    page = await driver.store.retention.candidates(30 * DAY, 0, 100)
    root = [(candidate, None) for candidate in page.runs if candidate.seq == candidate.root_seq]
    assert await driver.store.retention.retire(30 * DAY, root) == 0


async def spoken(driver, name, **conversation):
    await driver.store.conversations.create(Conversation(f"c-{name}", PROJECT, "chat", 1, 1))
    await driver.store.conversations.add_message(
        StoredMessage(f"u-{name}", f"c-{name}", "user", 0, 0, parts=b"[]")
    )
    place = {"conversation_id": f"c-{name}", "agent": msgspec.json.encode({"message_id": f"m-{name}"})}
    await driver.create(name, message=NewMessage(f"m-{name}", f"c-{name}", None), **(AGENT | place))


async def test_messages_of_a_deleted_run_stay(driver, clock, event, retire):
    await spoken(driver, "a")
    for delta in ("Good ", "morning"):
        await driver.append("a", event("TEXT_MESSAGE_CONTENT", messageId="t", delta=delta))
    await driver.complete("a", metadata=b'{"model":"m-1","inputTokens":3}')
    row = await driver.row("a")
    clock.advance_ms(31 * DAY)
    assert await retire() == 1
    messages = await driver.store.conversations.messages("c-a", 0, 10, 1 << 20)
    assert [one.message.id for one in messages] == ["u-a", "m-a"]
    kept = messages[1]
    assert (kept.run, kept.message.run_seq) == (None, None)
    assert msgspec.json.decode(kept.message.parts) == [{"type": "text", "text": "Good morning"}]
    outcome = msgspec.json.decode(kept.message.outcome, type=Outcome)
    assert (outcome.run_id, outcome.status, outcome.updated_at) == ("a", "completed", row.updated_at)
    assert outcome.run.metadata == row.metadata
    assert (await driver.store.conversations.get("c-a")).current_node == "m-a"


async def test_a_deleted_conversation_keeps_nothing(driver, clock, event, retire):
    await spoken(driver, "a")
    await driver.complete("a")
    await driver.store.conversations.change("c-a", lambda was, now: deleted(was, now=now))
    clock.advance_ms(31 * DAY)
    assert await retire() == 1
    messages = await driver.store.conversations.messages("c-a", 0, 10, 1 << 20)
    assert [one.message.id for one in messages] == ["u-a"]


async def test_ids_are_free_again_and_the_order_of_creation_goes_on(driver, clock, event, retire):
    await family(driver, event, "again")
    before = (await driver.row("again.1.1")).seq
    clock.advance_ms(31 * DAY)
    assert await retire() == 4
    assert (await driver.create("again")).seq > before
    assert await driver.log("again") == []


async def test_the_bytes_of_a_projects_artifacts_follow_created_and_deleted_runs(
    driver, store, retire, clock
):
    for name, size in (("old", 5), ("removed", 7), ("kept", 11)):
        await driver.create(name, artifact_bytes=size)
    assert await store.quotas.artifact_bytes(PROJECT) == 23
    await driver.complete("removed")
    await driver.delete("removed")
    assert await store.quotas.artifact_bytes(PROJECT) == 16
    await driver.complete("old")
    clock.advance_ms(31 * DAY)
    assert await retire() == 1
    assert await store.quotas.artifact_bytes(PROJECT) == 11
    assert await store.quotas.artifact_bytes("another") == 0
