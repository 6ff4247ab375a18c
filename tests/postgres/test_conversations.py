"""Many replicas write to one conversation: its messages are numbered without gaps, and its runs move with it or stay."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.errors import Error
from runstead.core.identity.signing_key import SigningKey
from runstead.core.queue.push_service import PushService
from runstead.core.runs.transition import NewMessage
from runstead.core.schedules.schedule import Schedule

PROJECT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def drivers(replicas):
    made = await replicas(3)
    await made[0].store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1, personal=True))
    return made


def agent_run(driver, n, **fields):
    agent = msgspec.json.encode({"message_id": f"m-{n}"})
    message = NewMessage(f"m-{n}", "c-1", None)
    return driver.create(
        f"run-{n}", kind="agent", conversation_id="c-1", agent=agent, message=message, **fields
    )


async def test_messages_of_users_and_runs_are_numbered_without_gaps(drivers):
    def said(n):
        message = StoredMessage(
            f"u-{n}", "c-1", "user", 0, 0, parts=b"[]", idempotency_key=f"k-{n % 20}", digest=b"d"
        )
        return drivers[n % 3].store.conversations.add_message(message)

    await asyncio.gather(*(agent_run(drivers[n % 3], n) for n in range(20)), *(said(n) for n in range(40)))
    spoken = await drivers[0].store.conversations.messages("c-1", 0, 1_000, 1 << 30)
    assert [one.message.seq for one in spoken] == list(range(1, 41))
    there = await drivers[1].store.conversations.get("c-1")
    assert (there.message_count, there.current_node) == (40, spoken[-1].message.id)


async def test_a_conversation_moves_with_the_runs_that_join_it_meanwhile(drivers):
    await agent_run(drivers[0], 0)

    def move(there, now):
        return replace(there, project_id="p-2", personal=False, updated_at=now)

    moving = drivers[1].store.conversations.change("c-1", move)
    joining = (agent_run(drivers[2], n) for n in range(1, 5))
    appending = (drivers[n % 3].touch("run-0", title=str(n)) for n in range(5))
    outcomes = await asyncio.gather(moving, *joining, *appending, return_exceptions=True)
    refused = {each.code for each in outcomes if isinstance(each, Error)}
    assert refused <= {"NOT_FOUND"}  # those that came for run-0 once it had moved
    assert not [each for each in outcomes if isinstance(each, Exception) and not isinstance(each, Error)]
    assert await drivers[0].row("run-0") is None
    assert (await drivers[0].row("run-0", "p-2")).conversation_id == "c-1"
    spoken = await drivers[0].store.conversations.messages("c-1", 0, 100, 1 << 30)
    assert [one.message.seq for one in spoken] == list(range(1, 6))
    for n in range(1, 5):  # one that came later is where it was made
        assert (await drivers[0].row(f"run-{n}", "p-2") is None) != (await drivers[0].row(f"run-{n}") is None)


async def test_a_run_of_a_deleted_conversation_is_refused_and_harms_no_other(drivers):
    def delete(there, now):
        return replace(there, status="deleted", updated_at=now)

    await drivers[0].store.conversations.change("c-1", delete)
    outcomes = await asyncio.gather(
        agent_run(drivers[0], 1), *(drivers[0].create(f"t-{n}") for n in range(5)), return_exceptions=True
    )
    assert outcomes[0].code == "NOT_FOUND"
    assert [run.run_id for run in outcomes[1:]] == [f"t-{n}" for n in range(5)]


async def test_an_input_request_is_answered_once_however_many_answer(drivers):
    await drivers[0].create("run-1", kind="agent", implementation_kind="python")
    await drivers[0].claim(kinds=("agent",), implementation_kind="python")
    asked = await asyncio.gather(
        *(drivers[n % 3].ask("run-1", f"i-{n}") for n in range(6)), return_exceptions=True
    )
    stored = (await drivers[0].store.inputs.page("c-1", None, None, 10)).rows
    assert len(stored) == 1
    assert not [each for each in asked if isinstance(each, Exception) and not isinstance(each, Error)]
    answers = await asyncio.gather(
        *(drivers[n % 3].respond("run-1", stored[0].id, b'{"a":%d}' % n) for n in range(6)),
        return_exceptions=True,
    )
    codes = sorted(each.code if isinstance(each, Error) else "answered" for each in answers)
    assert codes == ["INPUT_REQUEST_NOT_OPEN"] * 5 + ["answered"]


async def test_limits_hold_where_many_make_the_last_one(drivers, monkeypatch):
    def schedule(n):
        def decide(count, _now):
            if count >= 3:
                raise Error("SCHEDULE_LIMIT_REACHED", "enough")
            return Schedule(f"s-{n}", PROJECT, "n", "task", "t", "0 8 * * *", 1, 1)

        return decide

    made = await asyncio.gather(
        *(drivers[n % 3].store.schedules.create(PROJECT, schedule(n)) for n in range(12)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Schedule) for each in made) == 3

    monkeypatch.setattr("runstead.core.limits.push_services_per_project_max", 3)

    def service(n):
        given = {"registrant": f"r-{n}", "service_name": "scribe", "service_key": "k", "scope_kind": "global"}
        given |= {"base_url": "https://a.test", "invoke_url": "https://a.test/runs"}
        return PushService(id=f"service-{n}", reach=(PROJECT, "p-2")[:: 1 if n % 2 else -1], **given)

    made = await asyncio.gather(
        *(drivers[n % 3].store.push_services.register(service(n)) for n in range(12)), return_exceptions=True
    )
    assert sum(isinstance(each, PushService) for each in made) == 3
    assert {each.code for each in made if isinstance(each, Error)} == {"TOO_MANY_PUSH_SERVICES"}


async def test_replicas_that_start_at_once_sign_with_the_same_key(drivers):
    made = await asyncio.gather(
        *(
            drivers[n % 3].store.signing_keys.add([SigningKey(f"k-{n}", "EdDSA", "pem", n)], only_first=True)
            for n in range(6)
        )
    )
    assert len({tuple(keys) for keys in made}) == 1
    assert len(made[0]) == 1
