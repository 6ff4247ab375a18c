"""Triggers in every store."""

import uuid

import pytest
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.schedules.trigger import Trigger, new_token, token_hash
from runstead.ports.store import ListPage

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"


def anything(_count):
    """Lets any number be."""


def trigger(**fields):
    given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "name": "push", "target": "task:build"}
    given |= {"token_hash": token_hash(new_token()), "created_at": 5, "updated_at": 5}
    return Trigger(**(given | fields))


async def kept(store, **fields):
    return await store.triggers.create(trigger(**fields), anything)


async def test_a_trigger_is_read_as_it_was_written_and_found_by_its_token(store):
    values = {name: f"the {name}" for name in Trigger.__struct_fields__} | {
        "project_id": PROJECT,
        "disabled_at": 4,
    }
    values |= {
        "id": str(uuid.uuid4()),
        "token_hash": b"h",
        "config": b"{}",
        "flow": b"{}",
        "event_match": b"{}",
        "created_at": 7,
        "updated_at": 8,
    }
    mine = await kept(store, **values)
    bare = await kept(store)
    assert await store.triggers.get(PROJECT, mine.id) == mine
    assert await store.triggers.by_token(b"h") == mine
    assert await store.triggers.by_token(b"other") is None
    assert (await store.triggers.page(PROJECT, 10)).rows == [bare, mine]
    assert await store.triggers.page(PROJECT, 1) == ListPage([bare], more=True)
    assert (await store.triggers.page(PROJECT, 10, (bare.created_at, bare.id))).rows == [mine]
    assert await store.triggers.get(ELSEWHERE, mine.id) is None
    assert (await store.triggers.page(ELSEWHERE, 10)).rows == []


async def test_the_guard_counts_the_projects_triggers(store):
    counts = []
    await kept(store, project_id=ELSEWHERE)
    await store.triggers.create(trigger(), counts.append)
    await store.triggers.create(trigger(), counts.append)
    assert counts == [0, 1]


async def test_a_new_token_replaces_the_old_one(store, idempotent):
    mine = await kept(store)
    idempotency = idempotent(render=lambda one: (200, one.token_hash))

    def rotate(old, now):
        return replace(old, token_hash=b"new", updated_at=now)

    new = await store.triggers.change(PROJECT, mine.id, rotate, idempotency)
    assert await store.triggers.by_token(mine.token_hash) is None
    assert await store.triggers.by_token(b"new") == new
    with pytest.raises(ReplayedResponse) as replayed:
        await store.triggers.change(PROJECT, mine.id, rotate, idempotency)
    assert replayed.value.body == b"new"
    with pytest.raises(Error) as caught:
        await store.triggers.change(ELSEWHERE, mine.id, rotate)
    assert caught.value.code == "NOT_FOUND"


async def test_one_that_is_deleted_is_found_no_more(store):
    mine = await kept(store)
    assert not await store.triggers.delete(ELSEWHERE, mine.id)
    assert await store.triggers.delete(PROJECT, mine.id)
    assert not await store.triggers.delete(PROJECT, mine.id)
    assert await store.triggers.by_token(mine.token_hash) is None
