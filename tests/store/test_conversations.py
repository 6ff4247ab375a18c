"""Conversations, and the placeholder messages that agent runs leave in them."""

import asyncio

import pytest

from runstead.conversation import Conversation
from runstead.transition import NewMessage

PLAIN = Conversation("c-1", "p-1", "chat", 1, 1)
FULL = Conversation(
    "c-2", "p-1", "support", 1, 2, True, "archived", "Title é", "Summary", b'{"a":1}', "a-1", 3, 4, "u-1", 5
)


def message(n=1, conversation_id="c-1"):
    return NewMessage(f"m-{n}", conversation_id, "u-1")


@pytest.mark.parametrize("conversation", [PLAIN, FULL])
async def test_a_conversation_is_given_back_as_it_was_stored(store, conversation):
    assert await store.conversations.create(conversation) == conversation
    assert await store.conversations.get(conversation.id) == conversation


async def test_an_unknown_conversation_is_none(store):
    assert await store.conversations.get("c-1") is None


async def test_a_runs_message_counts_in_its_conversation(store, desk, clock):
    await store.conversations.create(PLAIN)
    clock.advance(10)
    await desk.create("run-1", kind="agent", message=message())
    found = await store.conversations.get("c-1")
    assert (found.message_count, found.last_message_at, found.updated_at) == (1, clock.now, clock.now)


async def test_a_run_without_message_leaves_conversations_alone(store, desk):
    await store.conversations.create(PLAIN)
    await desk.create("run-1", kind="agent", conversation_id="c-1")
    assert await store.conversations.get("c-1") == PLAIN


async def test_a_repeated_create_adds_no_second_message(store, desk):
    await store.conversations.create(PLAIN)
    await desk.create("run-1", message=message())
    await desk.create("run-1", message=message())
    assert (await store.conversations.get("c-1")).message_count == 1


async def test_concurrent_messages_all_count(store, desk):
    await store.conversations.create(PLAIN)
    await asyncio.gather(*(desk.create(message=message(n)) for n in range(20)))
    assert (await store.conversations.get("c-1")).message_count == 20


async def test_a_message_for_no_conversation_stores_no_run(store, desk, refusal):
    assert await refusal(desk.create("run-1", message=message())) == "NOT_FOUND"
    assert await desk.row("run-1") is None


async def test_a_create_that_breaks_leaves_no_message(store, desk, sealed):
    await store.conversations.create(PLAIN)

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await desk.create("run-1", message=message(), seal=sealed(render=broken))
    assert await store.conversations.get("c-1") == PLAIN
    assert await desk.row("run-1") is None
