"""Idempotency keys: the answer is stored with the effect, and comes again instead of it."""

import asyncio

import pytest

from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.idempotency import Replay
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.core.queue.worker import Session, Worker

PROJECT = Project("p-1", "one", "One", 1)


async def replayed(coroutine):
    """(status, body) of the stored answer."""
    with pytest.raises(Replay) as caught:
        await coroutine
    return caught.value.status, caught.value.body


def anything(_members, _keys):
    """A guard that lets every change be."""


def broken(_):
    raise ZeroDivisionError


async def test_the_answer_is_made_of_the_result(desk, sealed):
    made = []
    seal = sealed(render=lambda result: made.append(result) or (202, b"accepted"))
    run = await desk.create("run-1", seal=seal)
    assert [written.run for written in made[-1:]] == [run]


async def test_the_same_key_gets_the_same_answer_and_no_second_effect(desk, sealed):
    await desk.create("run-1", seal=sealed(render=lambda _: (202, b"\x00first")))
    again = desk.create("run-2", seal=sealed(render=lambda _: (500, b"second")))
    assert await replayed(again) == (202, b"\x00first")
    assert await desk.row("run-2") is None


async def test_the_same_key_for_another_request_is_refused(desk, sealed, refusal):
    await desk.create("run-1", seal=sealed(digest=b"one"))
    assert await refusal(desk.create("run-2", seal=sealed(digest=b"two"))) == "IDEMPOTENCY_KEY_REUSED"
    assert await desk.row("run-2") is None


async def test_a_key_is_its_owners_alone(desk, sealed):
    await desk.create("run-1", seal=sealed(owner="user:1"))
    await desk.create("run-2", seal=sealed(owner="user:2", digest=b"other"))
    await desk.create("run-3", seal=sealed("key-2", owner="user:1"))
    assert len(await desk.rows()) == 3


async def test_a_refused_command_is_not_stored(desk, sealed, refusal):
    assert await refusal(desk.cancel("run-1", seal=sealed())) == "NOT_FOUND"
    await desk.create("run-1")
    assert (await desk.cancel("run-1", seal=sealed())).transition.accepted


async def test_a_refused_key_may_come_with_another_request(desk, sealed, refusal):
    assert await refusal(desk.cancel("run-1", seal=sealed(digest=b"one"))) == "NOT_FOUND"
    await desk.create("run-1", seal=sealed(digest=b"two"))
    assert await desk.row("run-1") is not None


async def test_an_answer_that_cannot_be_made_leaves_no_effect(desk, sealed):
    with pytest.raises(ZeroDivisionError):
        await desk.create("run-1", seal=sealed(render=broken))
    assert await desk.row("run-1") is None
    await desk.create("run-1", seal=sealed())


async def test_a_command_that_changed_nothing_has_an_answer_too(desk, sealed):
    await desk.create("run-1")
    await desk.complete("run-1")
    await desk.cancel(
        "run-1", seal=sealed(render=lambda written: (200, str(written.transition.accepted).encode()))
    )
    assert await replayed(desk.cancel("run-1", seal=sealed())) == (200, b"False")


async def test_an_answer_not_worth_remembering_is_not_kept(desk, sealed):
    await desk.create("run-1", seal=sealed(render=lambda _: None))
    await desk.create("run-2", seal=sealed(digest=b"other"))
    assert [run.run_id for run in await desk.rows()] == ["run-1", "run-2"]


async def test_of_concurrent_commands_with_one_key_one_has_an_effect(desk, sealed):
    creates = [desk.create(f"run-{n}", seal=sealed()) for n in range(20)]
    outcomes = await asyncio.gather(*creates, return_exceptions=True)
    assert sum(isinstance(outcome, Replay) for outcome in outcomes) == 19
    assert len(await desk.rows()) == 1


async def test_an_append_is_sealed_with_its_events(desk, sealed, event):
    await desk.create("run-1")
    await desk.append("run-1", event(), seal=sealed())
    await replayed(desk.append("run-1", event(), seal=sealed()))
    assert len(await desk.log("run-1")) == 1


async def test_a_claim_is_sealed(desk, sealed):
    await desk.create("run-1")
    await desk.create("run-2")
    seal = sealed(render=lambda runs: (200, runs[0].run_id.encode()))
    await desk.claim(seal=seal)
    assert await replayed(desk.claim(seal=seal)) == (200, b"run-1")
    assert await desk.claim_ids(limit=9) == ["run-2"]


async def test_a_claim_of_nothing_is_sealed_too(desk, sealed):
    seal = sealed(render=lambda runs: (200, b"%d" % len(runs)))
    assert await desk.claim(seal=seal) == []
    await desk.create("run-1")
    assert await replayed(desk.claim(seal=seal)) == (200, b"0")


# Every other command that takes a seal: how it is called, in a store that holds PROJECT.
SEALED = {
    "create_project": lambda s, seal: s.directory.create_project(
        Project("p-2", "two", "Two", 1), None, None, seal
    ),
    "create_key": lambda s, seal: s.directory.create_key(ApiKey("k", "p-1", "x", b"h", frozenset(), 1), seal),
    "put_member": lambda s, seal: s.directory.put_member(Member("p-1", "u", "viewer", 1), anything, seal),
    "register": lambda s, seal: s.workers.register(Worker("w", "p-1", "python", "k", 1, 1), b"t", seal),
    "heartbeat": lambda s, seal: s.workers.heartbeat("w-1", seal),
    "put_session": lambda s, seal: s.workers.put_session(
        1, Session("s", "run-1", "python", "w-1", "key", "active", 1, 1), seal
    ),
    "create_conversation": lambda s, seal: s.conversations.create(
        Conversation("c", "p-1", "chat", 1, 1), seal
    ),
}
# How to see that it had an effect.
EFFECT = {
    "create_project": lambda s: s.directory.project("p-2"),
    "create_key": lambda s: s.directory.key_by_hash(b"h"),
    "put_member": lambda s: s.directory.members("p-1"),
    "register": lambda s: s.workers.get("w"),
    "heartbeat": lambda s: s.workers.get("w-1"),
    "put_session": lambda s: s.workers.session(1),
    "create_conversation": lambda s: s.conversations.get("c"),
}


@pytest.fixture(params=SEALED)
async def command(request, store):
    """(call with a seal, look at the effect)"""
    await store.directory.create_project(PROJECT, None, None)
    await store.workers.register(Worker("w-1", "p-1", "python", "k-1", 1, 1), b"first")
    call, effect = SEALED[request.param], EFFECT[request.param]
    return (lambda seal: call(store, seal)), (lambda: effect(store))


async def test_every_command_with_a_seal_answers_once(command, sealed):
    call, effect = command
    results = []
    result = await call(sealed(render=lambda made: results.append(made) or (201, b"made")))
    assert results[-1] == result
    after = await effect()
    assert after
    assert await replayed(call(sealed())) == (201, b"made")
    with pytest.raises(Error, match=r"(?i)idempotency"):
        await call(sealed(digest=b"other"))
    assert await effect() == after


async def test_every_command_with_a_seal_is_undone_where_its_answer_breaks(command, sealed):
    call, effect = command
    before = await effect()
    with pytest.raises(ZeroDivisionError):
        await call(sealed(render=broken))
    assert await effect() == before


async def test_forgotten_answers_do_not_come_again(desk, sealed, clock):
    await desk.create("run-1", seal=sealed("old"))
    clock.advance(1_000)
    await desk.create("run-2", seal=sealed("new"))
    assert await desk.store.forget(500, 100) == 1
    assert await desk.store.forget(500, 100) == 0
    await desk.create("run-3", seal=sealed("old"))
    await replayed(desk.create("run-4", seal=sealed("new")))
    assert [run.run_id for run in await desk.rows()] == ["run-1", "run-2", "run-3"]
