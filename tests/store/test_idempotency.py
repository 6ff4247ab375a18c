"""Idempotency keys: the response is stored with the effect, and replayed."""

import asyncio

import pytest

from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.core.queue.worker import Session, Worker

PROJECT = Project("p-1", "one", "One", 1)


async def replayed(coroutine):
    """(status, body) of the stored answer."""
    with pytest.raises(ReplayedResponse) as caught:
        await coroutine
    return caught.value.status, caught.value.body


def anything(_counts):
    """A guard that lets every change be."""


def broken(_):
    raise ZeroDivisionError


async def test_the_answer_is_made_of_the_result(driver, idempotent):
    made = []
    idempotency = idempotent(render=lambda result: made.append(result) or (202, b"accepted"))
    run = await driver.create("run-1", idempotency=idempotency)
    assert [written.run for written in made[-1:]] == [run]


async def test_the_same_key_gets_the_same_answer_and_no_second_effect(driver, idempotent):
    await driver.create("run-1", idempotency=idempotent(render=lambda _: (202, b"\x00first")))
    again = driver.create("run-2", idempotency=idempotent(render=lambda _: (500, b"second")))
    assert await replayed(again) == (202, b"\x00first")
    assert await driver.row("run-2") is None


async def test_the_same_key_for_another_request_is_refused(driver, idempotent, refusal):
    await driver.create("run-1", idempotency=idempotent(digest=b"one"))
    assert (
        await refusal(driver.create("run-2", idempotency=idempotent(digest=b"two")))
        == "IDEMPOTENCY_KEY_REUSED"
    )
    assert await driver.row("run-2") is None


async def test_a_key_is_its_owners_alone(driver, idempotent):
    await driver.create("run-1", idempotency=idempotent(owner="user:1"))
    await driver.create("run-2", idempotency=idempotent(owner="user:2", digest=b"other"))
    await driver.create("run-3", idempotency=idempotent("key-2", owner="user:1"))
    assert len(await driver.rows()) == 3


async def test_a_refused_command_is_not_stored(driver, idempotent, refusal):
    assert await refusal(driver.cancel("run-1", idempotency=idempotent())) == "NOT_FOUND"
    await driver.create("run-1")
    assert (await driver.cancel("run-1", idempotency=idempotent())).transition.accepted


async def test_a_refused_key_may_come_with_another_request(driver, idempotent, refusal):
    assert await refusal(driver.cancel("run-1", idempotency=idempotent(digest=b"one"))) == "NOT_FOUND"
    await driver.create("run-1", idempotency=idempotent(digest=b"two"))
    assert await driver.row("run-1") is not None


async def test_an_answer_that_cannot_be_made_leaves_no_effect(driver, idempotent):
    with pytest.raises(ZeroDivisionError):
        await driver.create("run-1", idempotency=idempotent(render=broken))
    assert await driver.row("run-1") is None
    await driver.create("run-1", idempotency=idempotent())


async def test_a_command_that_changed_nothing_has_an_answer_too(driver, idempotent):
    await driver.create("run-1")
    await driver.complete("run-1")
    await driver.cancel(
        "run-1",
        idempotency=idempotent(render=lambda written: (200, str(written.transition.accepted).encode())),
    )
    assert await replayed(driver.cancel("run-1", idempotency=idempotent())) == (200, b"False")


async def test_an_answer_not_worth_remembering_is_not_kept(driver, idempotent):
    await driver.create("run-1", idempotency=idempotent(render=lambda _: None))
    await driver.create("run-2", idempotency=idempotent(digest=b"other"))
    assert [run.run_id for run in await driver.rows()] == ["run-1", "run-2"]


async def test_of_concurrent_commands_with_one_key_one_has_an_effect(driver, idempotent):
    creates = [driver.create(f"run-{n}", idempotency=idempotent()) for n in range(20)]
    outcomes = await asyncio.gather(*creates, return_exceptions=True)
    assert sum(isinstance(outcome, ReplayedResponse) for outcome in outcomes) == 19
    assert len(await driver.rows()) == 1


async def test_an_append_is_stored_with_its_idempotency_record(driver, idempotent, event):
    await driver.create("run-1")
    await driver.append("run-1", event(), idempotency=idempotent())
    await replayed(driver.append("run-1", event(), idempotency=idempotent()))
    assert len(await driver.log("run-1")) == 1


async def test_a_claim_is_replayed(driver, idempotent):
    await driver.create("run-1")
    await driver.create("run-2")
    idempotency = idempotent(render=lambda runs: (200, runs[0].run_id.encode()))
    await driver.claim(idempotency=idempotency)
    assert await replayed(driver.claim(idempotency=idempotency)) == (200, b"run-1")
    assert await driver.claim_ids(limit=9) == ["run-2"]


async def test_an_empty_claim_is_replayed_too(driver, idempotent):
    idempotency = idempotent(render=lambda runs: (200, b"%d" % len(runs)))
    assert await driver.claim(idempotency=idempotency) == []
    await driver.create("run-1")
    assert await replayed(driver.claim(idempotency=idempotency)) == (200, b"0")


# The calls of all other idempotent commands, in a store that holds PROJECT.
SEALED = {
    "create_project": lambda s, idempotency: s.identity.create_project(
        Project("p-2", "two", "Two", 1), None, None, idempotency
    ),
    "create_key": lambda s, idempotency: s.identity.create_key(
        ApiKey("k", "p-1", "x", b"h", frozenset(), 1), idempotency
    ),
    "put_member": lambda s, idempotency: s.identity.put_member(
        Member("p-1", "u", "viewer", 1), anything, idempotency
    ),
    "register": lambda s, idempotency: s.workers.register(
        Worker("w", "p-1", "python", "k", 1, 1), b"t", idempotency
    ),
    "heartbeat": lambda s, idempotency: s.workers.heartbeat("w-1", idempotency),
    "put_session": lambda s, idempotency: s.workers.put_session(
        1, Session("s", "run-1", "python", "w-1", "key", "active", 1, 1), idempotency
    ),
    "create_conversation": lambda s, idempotency: s.conversations.create(
        Conversation("c", "p-1", "chat", 1, 1), idempotency
    ),
}
# The reads that show their effects.
EFFECT = {
    "create_project": lambda s: s.identity.project("p-2"),
    "create_key": lambda s: s.identity.key_by_hash(b"h"),
    "put_member": lambda s: s.identity.members("p-1"),
    "register": lambda s: s.workers.get("w"),
    "heartbeat": lambda s: s.workers.get("w-1"),
    "put_session": lambda s: s.workers.session(1),
    "create_conversation": lambda s: s.conversations.get("c"),
}


@pytest.fixture(params=SEALED)
async def command(request, store):
    """(call with an idempotency record, read of the effect)"""
    await store.identity.create_project(PROJECT, None, None)
    await store.workers.register(Worker("w-1", "p-1", "python", "k-1", 1, 1), b"first")
    call, effect = SEALED[request.param], EFFECT[request.param]
    return (lambda idempotency: call(store, idempotency)), (lambda: effect(store))


async def test_every_idempotent_command_runs_once(command, idempotent):
    call, effect = command
    results = []
    result = await call(idempotent(render=lambda made: results.append(made) or (201, b"made")))
    assert results[-1] == result
    after = await effect()
    assert after
    assert await replayed(call(idempotent())) == (201, b"made")
    with pytest.raises(Error, match=r"(?i)idempotency"):
        await call(idempotent(digest=b"other"))
    assert await effect() == after


async def test_every_idempotent_command_is_rolled_back_if_rendering_fails(command, idempotent):
    call, effect = command
    before = await effect()
    with pytest.raises(ZeroDivisionError):
        await call(idempotent(render=broken))
    assert await effect() == before


async def test_forgotten_answers_do_not_come_again(driver, idempotent, clock):
    await driver.create("run-1", idempotency=idempotent("old"))
    clock.advance_ms(1_000)
    await driver.create("run-2", idempotency=idempotent("new"))
    assert await driver.store.forget(500, 100) == 1
    assert await driver.store.forget(500, 100) == 0
    await driver.create("run-3", idempotency=idempotent("old"))
    await replayed(driver.create("run-4", idempotency=idempotent("new")))
    assert [run.run_id for run in await driver.rows()] == ["run-1", "run-2", "run-3"]
