"""Conversations, and the placeholder messages that agent runs leave in them."""

import asyncio

import pytest
from msgspec.structs import replace

from runstead.core.conversations.conversation import Change, Conversation, StoredMessage, change, delete, live
from runstead.core.runs.transition import NewMessage
from runstead.ports.store import ConversationQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
PLAIN = Conversation("c-1", "p-1", "chat", 1, 1)
FULL = Conversation(
    "c-2",
    "p-1",
    "support",
    1,
    2,
    True,
    "archived",
    "Title é",
    "Summary",
    b'{"a":1}',
    "a-1",
    3,
    4,
    "u-1",
    5,
    "m-3",
)


def message(n=1, conversation_id="c-1"):
    return NewMessage(f"m-{n}", conversation_id, "u-1")


@pytest.mark.parametrize("conversation", [PLAIN, FULL])
async def test_a_conversation_is_given_back_as_it_was_stored(store, clock, conversation):
    stored = await store.conversations.create(conversation)
    assert stored == replace(conversation, created_at=clock.now, updated_at=clock.now, seq=1)
    assert await store.conversations.get(conversation.id) == stored


async def test_an_unknown_conversation_is_none(store):
    assert await store.conversations.get("c-1") is None


async def test_a_runs_message_counts_in_its_conversation(store, driver, clock):
    await store.conversations.create(PLAIN)
    clock.advance_ms(10)
    await driver.create("run-1", kind="agent", message=message())
    found = await store.conversations.get("c-1")
    assert (found.message_count, found.last_message_at, found.updated_at) == (1, clock.now, clock.now)
    assert found.current_node == "m-1"
    [spoken] = await store.conversations.messages("c-1", 0, 10, 10**6)
    assert (spoken.message.id, spoken.message.role, spoken.message.seq) == ("m-1", "assistant", 1)
    assert (spoken.run.run_id, spoken.run.status) == ("run-1", "pending")


async def test_a_run_without_message_leaves_conversations_alone(store, driver):
    before = await store.conversations.create(PLAIN)
    await driver.create("run-1", kind="agent", conversation_id="c-1")
    assert await store.conversations.get("c-1") == before


async def test_a_repeated_create_adds_no_second_message(store, driver):
    await store.conversations.create(PLAIN)
    await driver.create("run-1", message=message())
    await driver.create("run-1", message=message())
    assert (await store.conversations.get("c-1")).message_count == 1


async def test_concurrent_messages_all_count(store, driver):
    await store.conversations.create(PLAIN)
    await asyncio.gather(*(driver.create(message=message(n)) for n in range(20)))
    assert (await store.conversations.get("c-1")).message_count == 20


async def test_a_message_for_no_conversation_stores_no_run(store, driver, refusal):
    assert await refusal(driver.create("run-1", message=message())) == "NOT_FOUND"
    assert await driver.row("run-1") is None


async def test_a_create_that_breaks_leaves_no_message(store, driver, idempotent):
    before = await store.conversations.create(PLAIN)

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await driver.create("run-1", message=message(), idempotency=idempotent(render=broken))
    assert await store.conversations.get("c-1") == before
    assert await driver.row("run-1") is None


def said(number=1, conversation_id="c-1", **members):
    given = {"parts": b'[{"type":"text"}]', "digest": b"d"}
    return StoredMessage(f"u-{number}", conversation_id, "user", 0, 0, **(given | members))


async def deleted(store, conversation_id="c-1"):
    def decide(there, now):
        return delete(live(there), now=now)

    return await store.conversations.change(conversation_id, decide)


async def linked(store, project_id, conversation_id="c-1"):
    def decide(there, now):
        return change(live(there), Change(project_id=project_id), now=now)

    return await store.conversations.change(conversation_id, decide)


async def ids(store, after=0, limit=10, bytes_max=10**6):
    found = await store.conversations.messages("c-1", after, limit, bytes_max)
    return [one.message.id for one in found]


async def test_messages_are_counted_for_every_writer(store, driver, clock):
    await store.conversations.create(PLAIN)
    first = await store.conversations.add_message(said(1, metadata=b"{}", created_by="ada"))
    assert (first.seq, first.created_at, first.parts) == (1, clock.now, b'[{"type":"text"}]')
    await driver.create("run-1", kind="agent", message=message())
    clock.advance_ms(5)
    assert (await store.conversations.add_message(said(2))).seq == 3
    assert await ids(store) == ["u-1", "m-1", "u-2"]
    assert await ids(store, after=1, limit=1) == ["m-1"]
    found = await store.conversations.get("c-1")
    assert (found.message_count, found.current_node, found.last_message_at) == (3, "u-2", clock.now)
    [spoken, *_] = await store.conversations.messages("c-1", 0, 1, 1)
    assert spoken == (first, None)


async def test_a_page_of_messages_ends_where_it_is_full(store):
    await store.conversations.create(PLAIN)
    for number in range(1, 5):
        await store.conversations.add_message(said(number, parts=b"x" * 100))
    assert await ids(store, bytes_max=250) == ["u-1", "u-2"]
    assert await ids(store, after=2, bytes_max=1) == ["u-3"]


async def test_a_message_under_the_same_key_is_the_one_that_is_there(store, refusal):
    await store.conversations.create(PLAIN)
    first = await store.conversations.add_message(said(1, idempotency_key="k"))
    assert await store.conversations.add_message(said(2, idempotency_key="k")) == first
    other = said(3, idempotency_key="k", digest=b"other")
    assert await refusal(store.conversations.add_message(other)) == "IDEMPOTENCY_KEY_REUSED"
    assert await ids(store) == ["u-1"]
    assert (await store.conversations.get("c-1")).message_count == 1


async def test_of_many_messages_under_one_key_one_is_stored(store):
    await store.conversations.create(PLAIN)
    add = store.conversations.add_message
    found = await asyncio.gather(*(add(said(number, idempotency_key="k")) for number in range(20)))
    assert len({one.id for one in found}) == 1
    assert len(await ids(store)) == 1


async def test_a_key_belongs_to_one_conversation(store):
    await store.conversations.create(PLAIN)
    await store.conversations.create(replace(PLAIN, id="c-2"))
    await store.conversations.add_message(said(1, idempotency_key="k"))
    assert (await store.conversations.add_message(said(2, "c-2", idempotency_key="k"))).id == "u-2"


async def test_a_parent_is_a_message_of_the_same_conversation(store, refusal):
    await store.conversations.create(PLAIN)
    await store.conversations.create(replace(PLAIN, id="c-2"))
    await store.conversations.add_message(said(1, idempotency_key="k"))
    add = store.conversations.add_message
    assert (await add(said(2, parent_id="u-1"))).parent_id == "u-1"
    assert (await add(said(3, parent_id="k"))).parent_id == "u-1", "clients name their own messages so"
    assert await refusal(add(said(4, parent_id="u-9"))) == "NOT_FOUND"
    assert await refusal(add(said(5, "c-2", parent_id="u-1"))) == "NOT_FOUND"


async def test_a_deleted_conversation_takes_nothing(store, driver, refusal):
    await store.conversations.create(PLAIN)
    await driver.create("run-1", message=message())
    assert (await deleted(store)).status == "deleted"
    assert await refusal(deleted(store)) == "NOT_FOUND"
    assert await refusal(store.conversations.add_message(said())) == "NOT_FOUND"
    assert await refusal(driver.create("run-2", message=message(2))) == "NOT_FOUND"
    assert await refusal(driver.ask("run-1", "i-1")) == "NOT_FOUND"
    assert await driver.row("run-2") is None
    assert (await driver.row("run-1")).status == "pending"
    assert (await store.conversations.get("c-1")).message_count == 1


async def test_pages_hold_conversations_newest_first_without_deleted_ones(store):
    for number in range(1, 7):
        status = "archived" if number == 5 else "active"
        where = f"p-{number % 3}"
        await store.conversations.create(replace(PLAIN, id=f"c-{number}", project_id=where, status=status))
    await deleted(store, "c-3")

    async def names(*projects, **query):
        found = (await store.conversations.page(ConversationQuery(projects, **query))).rows
        return [one.id for one in found]

    assert await names("p-0", "p-1", "p-2") == ["c-6", "c-5", "c-4", "c-2", "c-1"]
    assert await names("p-0", "p-1", "p-2", limit=2, before=5) == ["c-4", "c-2"]
    assert await names("p-1", "p-2", status="archived") == ["c-5"]
    assert await names("p-9") == []
    assert await names() == []


OWN = replace(PLAIN, personal=True, project_id=PROJECT)


async def test_a_conversation_moves_to_a_project_with_its_runs(store, driver):
    await store.conversations.create(OWN)
    await driver.create("run-1", kind="agent", conversation_id="c-1", message=message())
    await driver.create("run-2", kind="agent", conversation_id="c-1", message=message(2), parent="run-1")
    await driver.create("run-3")
    moved = await linked(store, "p-2")
    assert (moved.project_id, moved.personal) == ("p-2", False)
    assert await store.conversations.get("c-1") == moved
    assert await driver.row("run-1") is None
    for name in ("run-1", "run-2"):
        run = await driver.row(name, "p-2")
        assert (run.project_id, run.conversation_id) == ("p-2", "c-1")
    assert (await driver.row("run-3")).project_id == PROJECT
    assert [run.run_id for run in await driver.claim(project_id="p-2")] == []
    assert await store.conversations.change("c-1", lambda there, _: there) == moved


async def test_a_moved_run_is_claimed_where_it_is_now(store, driver):
    await store.conversations.create(OWN)
    agent = {"kind": "agent", "implementation_kind": "python", "conversation_id": "c-1"}
    await driver.create("run-1", message=message(), **agent)
    await linked(store, "p-2")
    wanted = {"kinds": ("agent",), "implementation_kind": "python"}
    assert await driver.claim(**wanted) == []
    assert [run.run_id for run in await driver.claim(project_id="p-2", **wanted)] == ["run-1"]


@pytest.mark.parametrize("outside", ["parent", "child"])
async def test_a_family_that_reaches_elsewhere_holds_its_conversation(store, driver, refusal, outside):
    made = await store.conversations.create(OWN)
    if outside == "parent":
        await driver.create("run-0")
    await driver.create("run-1", message=message(), parent="run-0" if outside == "parent" else None)
    if outside == "child":
        await driver.create("run-2", parent="run-1")
    assert await refusal(linked(store, "p-2")) == "CONVERSATION_LINKED"
    counted = {"message_count": 1, "current_node": "m-1", "last_message_at": driver.clock.now}
    assert await store.conversations.get("c-1") == replace(made, **counted)
    assert await driver.row("run-1") is not None


async def test_a_run_id_that_the_project_holds_keeps_the_conversation_out(store, driver, refusal):
    await store.conversations.create(OWN)
    await driver.create("run-1", message=message())
    await driver.create("run-1", project_id="p-2")
    assert await refusal(linked(store, "p-2")) == "RUN_ID_CONFLICT"
    assert await driver.row("run-1") is not None
