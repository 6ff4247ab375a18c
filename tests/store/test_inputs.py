"""Input requests: stored and closed with their run, in one transaction."""

import asyncio

import pytest

from runstead.commands.check import check
from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error


@pytest.fixture(autouse=True)
async def conversations(store):
    for number in (1, 2):
        await store.conversations.create(Conversation(f"c-{number}", "p-1", "chat", 1, 1))


async def test_a_request_is_given_back_as_it_was_stored(store, driver, clock):
    await driver.create("run-1")
    members = {"description": "D", "metadata": b'{"a":1}', "created_by": "ada", "fields": b'[{"name":"n"}]'}
    expires_at = clock.now + 5
    written = await driver.ask("run-1", "i-1", expires_at=expires_at, **members)
    found = await store.inputs.get("i-1")
    assert (found.run_seq, found.run_id, found.tool_call_id) == (written.run.seq, "run-1", "call-1")
    assert (found.status, found.created_at, found.expires_at) == ("open", clock.now, expires_at)
    assert {name: getattr(found, name) for name in members} == members
    assert (await driver.row("run-1")).waiting_input_id == "i-1"
    assert await store.inputs.get("i-2") is None


async def test_a_response_is_kept_with_its_request(store, driver, clock):
    await driver.create("run-1")
    await driver.ask("run-1", "i-1")
    clock.advance_ms(7)
    shown = (await driver.respond("run-1", "i-1")).transition.input_request
    found = await store.inputs.get("i-1")
    assert found == shown
    assert (found.status, found.ended_at) == ("submitted", clock.now)
    response = found.response
    assert (response.id, response.actor_type, response.actor_id) == ("i-1-answer", "user", "ada")
    assert (response.values, response.digest, response.created_at) == (b'{"a":1}', b'{"a":1}', clock.now)


async def test_a_repeated_request_stores_no_second_one(store, driver):
    await driver.create("run-1")
    await driver.ask("run-1", "i-1")
    assert (await driver.ask("run-1", "i-2")).transition.input_request.id == "i-1"
    assert [one.id for one in (await store.inputs.page("c-1", None, None, 10)).rows] == ["i-1"]


async def test_a_request_that_is_refused_leaves_the_run_alone(store, driver, refusal):
    before = await driver.create("run-1")
    assert await refusal(driver.ask("run-1", "i-1", conversation_id="c-9")) == "NOT_FOUND"
    assert await driver.row("run-1") == before
    assert await store.inputs.get("i-1") is None


async def test_a_response_that_breaks_leaves_the_request_open(store, driver, idempotent):
    await driver.create("run-1")
    await driver.ask("run-1", "i-1")

    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await driver.respond("run-1", "i-1", idempotency=idempotent(render=broken))
    assert (await store.inputs.get("i-1")).status == "open"
    assert (await driver.row("run-1")).status == "waiting"
    assert await driver.log("run-1") == []


async def test_of_many_responses_one_is_stored(store, driver):
    await driver.create("run-1")
    await driver.ask("run-1", "i-1")
    tries = (driver.respond("run-1", "i-1", b"%d" % number) for number in range(20))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Error) for one in outcomes) == 19
    assert len(await driver.log("run-1")) == 1


async def test_a_cancelled_family_closes_every_request_in_it(store, driver):
    await driver.create("run-1")
    for number in (2, 3):
        await driver.create(f"run-{number}", parent="run-1")
        await driver.ask(f"run-{number}", f"i-{number}")
    await driver.cancel("run-1")
    assert [(await store.inputs.get(f"i-{number}")).status for number in (2, 3)] == ["cancelled"] * 2


async def test_an_input_request_expires_with_its_run(store, driver, clock):
    await driver.create("run-1")
    await driver.ask("run-1", "i-1", expires_at=clock.now + 50)
    clock.advance_ms(50)
    await driver.enforce_deadlines()
    found = await store.inputs.get("i-1")
    assert (found.status, found.ended_at) == ("expired", clock.now)
    assert (await driver.row("run-1")).status == "failed"


async def test_a_request_of_another_run_is_not_there(driver, refusal):
    await driver.create("run-1")
    await driver.create("run-2")
    await driver.ask("run-1", "i-1")
    assert await refusal(driver.respond("run-2", "i-1")) == "NOT_FOUND"
    assert await refusal(driver.cancel_input("run-2", "i-1")) == "NOT_FOUND"


async def test_pages_hold_the_requests_of_one_conversation_newest_first(store, driver):
    for number in range(1, 6):
        await driver.create(f"run-{number}")
        await driver.ask(f"run-{number}", f"i-{number}", conversation_id="c-2" if number == 3 else "c-1")
    await driver.respond("run-2", "i-2")

    async def page(status=None, before=None, limit=10):
        return (await store.inputs.page("c-1", status, before, limit)).rows

    assert [one.id for one in await page()] == ["i-5", "i-4", "i-2", "i-1"]
    assert [one.id for one in await page("open")] == ["i-5", "i-4", "i-1"]
    first = await page(limit=2)
    assert [one.id for one in await page(before=first[-1].seq)] == ["i-2", "i-1"]
    seq = (await driver.row("run-4")).seq
    assert [one.id for one in await store.inputs.of_run(seq, 10)] == ["i-4"]


async def answered(driver, run_id, request_id, **members):
    """A run whose input request was answered with a secret."""
    await driver.create(run_id, conversation_id="c-1", **members)
    await driver.ask(run_id, request_id)
    await driver.respond(run_id, request_id, secrets=f"secret of {request_id}")
    return await driver.secrets(run_id, request_id)


async def test_secrets_are_kept_beside_the_response_until_the_run_ends(store, driver):
    assert await answered(driver, "run-1", "i-1") == "secret of i-1"
    assert await answered(driver, "run-2", "i-2") == "secret of i-2"
    assert (await store.inputs.get("i-1")).response.secrets is None  # lists and readers do not load them
    assert (await driver.ask("run-1", "i-3", call="call-2")).run.status == "waiting"
    await driver.respond("run-1", "i-3")
    assert await driver.secrets("run-1", "i-3") is None
    assert (await driver.secrets("run-1", "i-1"), await driver.secrets("run-2", "i-2")) == (
        "secret of i-1",
        "secret of i-2",
    )
    await driver.complete("run-1")
    assert (await driver.secrets("run-1", "i-1"), await driver.secrets("run-2", "i-2")) == (
        None,
        "secret of i-2",
    )


async def test_every_end_of_a_run_erases_its_secrets(store, driver, clock):
    def cancel_parent(_):
        return driver.cancel("parent")

    async def lose_every_lease(run_id):
        for _ in range(20):
            if (await driver.row(run_id)).terminal:
                return
            await driver.claim()
            clock.advance_ms(3_600_000)
            await driver.enforce_deadlines()

    async def expire(run_id):
        await driver.ask(run_id, "late", call="call-9", expires_at=clock.now + 50)
        clock.advance_ms(50)
        await driver.enforce_deadlines()

    ends = {
        "completed": driver.complete,
        "failed": lambda run_id: driver.complete(run_id, "failed"),
        "cancelled": driver.cancel,
        "cancelled with its parent": cancel_parent,
        "lost": lose_every_lease,
        "expired": expire,
    }
    await driver.create("parent")
    for number, (name, end) in enumerate(ends.items(), 10):
        parent = {"parent": "parent"} if end is cancel_parent else {}
        assert await answered(driver, f"run-{number}", f"i-{number}", **parent) is not None
        await end(f"run-{number}")
        assert (await driver.row(f"run-{number}")).terminal, name
        assert await driver.secrets(f"run-{number}", f"i-{number}") is None, name
    assert [violation async for violation in check(store)] == []
