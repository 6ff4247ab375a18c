"""The log of a run: numbers, pages, private events, tails and replays."""

import asyncio

import msgspec
from msgspec.structs import replace

from runstead.core.runs.transition import Transition, Want
from runstead.core.runs.transitions import rewrite
from runstead.engines.sql.run_rows import to_event

PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"


async def numbers(driver, after, limit, **options):
    run = await driver.row("run-1")
    return [e.event_id for e in await driver.runs.events(run.seq, after, limit, **options)]


async def tail(driver, after):
    seen = []

    def look(loaded):
        seen.extend(loaded.tail)
        return Transition(loaded.run)

    await driver.change("run-1", look, Want(expected_previous_event_id=after))
    return [e.event_id for e in seen]


async def test_events_are_numbered_from_one_without_gaps(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(), event())
    await driver.append("run-1", event())
    written = await driver.complete("run-1")
    assert await numbers(driver, 0, 100) == [1, 2, 3, 4]
    assert written.run.latest_event_id == 4


async def test_an_event_is_given_back_as_it_was_stored(driver, event, clock):
    await driver.create("run-1")
    new = event("TEXT_MESSAGE_CONTENT", delta="é\n\u2028", n=1.0)
    await driver.append("run-1", new)
    [stored] = await driver.log("run-1")
    assert (stored.event_id, stored.type, stored.payload) == (1, new.type, new.payload)
    assert (stored.created_at, stored.external, stored.private, stored.is_error) == (
        clock.now,
        True,
        False,
        False,
    )


async def test_events_of_the_server_are_flagged_as_such_and_as_errors(driver):
    await driver.create("run-1")
    await driver.complete("run-1", "failed", error_message="broken")
    [stored] = await driver.log("run-1")
    assert (stored.type, stored.external, stored.is_error) == ("RUN_ERROR", False, True)
    assert msgspec.json.decode(stored.payload) == {"type": "RUN_ERROR", "message": "broken"}


async def test_the_source_of_an_event_is_stored(driver, event):
    await driver.create("run-1")
    for source in ("caller", "worker", "writer"):
        await driver.append("run-1", replace(event(), source=source))
    await driver.change(
        "run-1",
        lambda to: Transition(
            rewrite(to.run, to.now, latest_event_id=to.run.latest_event_id + 1),
            events=(replace(event(), source="retry"),),
        ),
    )
    await driver.complete("run-1")
    log = await driver.log("run-1")
    assert [one.source for one in log] == ["caller", "worker", "writer", "retry", "server"]
    assert [one.external for one in log] == [True, True, True, False, False]


def test_an_event_of_an_older_version_has_a_source():
    def source(flags):
        return to_event((1, "CUSTOM", b"{}", 0, flags, 1)).source

    assert [source(flags) for flags in range(16)] == ["server", "caller"] * 8


async def test_each_event_carries_the_external_sequence_as_it_then_stood(driver, event):
    await driver.create("run-1", kind="agent")
    await driver.append("run-1", event(), event())
    await driver.wait("run-1")
    await driver.resume("run-1")
    await driver.append("run-1", event(PRIVATE), event(), after=3)
    log = await driver.whole_log("run-1")
    assert [e.sequence for e in log] == [1, 2, 2, 2, 3]
    assert (await driver.row("run-1")).latest_external_event_sequence == 3


async def test_logs_of_different_runs_do_not_mix(driver, event):
    for run_id in ("run-1", "run-2", "run-3"):
        await driver.create(run_id)
        await driver.append(run_id, event(of=run_id))
    for run_id in ("run-1", "run-2", "run-3"):
        [stored] = await driver.log(run_id)
        assert msgspec.json.decode(stored.payload)["of"] == run_id


async def test_a_page_begins_after_its_cursor_and_ends_at_its_limit(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", *(event(n=n) for n in range(10)))
    assert await numbers(driver, 0, 3) == [1, 2, 3]
    assert await numbers(driver, 3, 3) == [4, 5, 6]
    assert await numbers(driver, 9, 3) == [10]
    assert await numbers(driver, 10, 3) == []
    assert await numbers(driver, 1_000, 3) == []
    assert await numbers(driver, 2**53 - 1, 3) == []


async def test_many_pages_read_the_log_once_from_end_to_end(driver, event):
    await driver.create("run-1")
    for _ in range(4):
        await driver.append("run-1", *(event() for _ in range(100)))
    read, after = [], 0
    while page := await numbers(driver, after, 37):
        read += page
        after = page[-1]
    assert read == list(range(1, 401))


async def test_a_page_stops_before_its_bytes_run_over(driver, event):
    await driver.create("run-1")
    events = [event(x="a" * 100) for _ in range(5)]
    await driver.append("run-1", *events)
    size = len(events[0].payload)
    assert await numbers(driver, 0, 100, bytes_max=3 * size) == [1, 2, 3]
    assert await numbers(driver, 0, 100, bytes_max=3 * size + 1) == [1, 2, 3]
    assert await numbers(driver, 0, 2, bytes_max=3 * size) == [1, 2]


async def test_the_first_event_of_a_page_always_comes(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(x="a" * 100), event(x="a" * 100))
    assert await numbers(driver, 0, 100, bytes_max=1) == [1]
    assert await numbers(driver, 1, 100, bytes_max=1) == [2]


async def last(driver, before, limit, **options):
    run = await driver.row("run-1")
    return [e.event_id for e in await driver.runs.events_before(run.seq, before, limit, **options)]


async def test_the_last_events_below_a_number_come_in_order(driver, event):
    await driver.create("run-1")
    await driver.create("run-2")
    await driver.append("run-1", *(event("AB"[n % 2]) for n in range(10)))
    await driver.append("run-2", event())
    assert await last(driver, 11, 3) == [8, 9, 10]
    assert await last(driver, 8, 3) == [5, 6, 7]
    assert await last(driver, 3, 3) == [1, 2]
    assert await last(driver, 1, 3) == []
    assert await last(driver, 0, 3) == []
    assert await last(driver, 2**53 - 1, 2) == [9, 10]
    assert await last(driver, 10, 3, types=["A"]) == [5, 7, 9]
    assert await last(driver, 10, 3, types=["C"]) == []


async def test_the_last_events_stop_before_their_bytes_run_over_but_the_very_last_comes(driver, event):
    await driver.create("run-1")
    events = [event(x="a" * 100) for _ in range(5)]
    await driver.append("run-1", *events)
    size = len(events[0].payload)
    assert await last(driver, 6, 100, bytes_max=3 * size) == [3, 4, 5]
    assert await last(driver, 5, 2, bytes_max=3 * size) == [3, 4]
    assert await last(driver, 6, 100, bytes_max=1) == [5]


async def test_private_events_are_not_among_the_last_ones(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(), event(PRIVATE), event(), event(PRIVATE), after=0)
    assert await last(driver, 5, 2) == [1, 3]


async def test_private_events_are_numbered_and_never_shown(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(), event(PRIVATE), event(PRIVATE), event(), after=0)
    assert await numbers(driver, 0, 100) == [1, 4]
    assert await numbers(driver, 1, 1) == [4]
    assert await numbers(driver, 0, 100, types=[PRIVATE]) == []
    assert (await driver.row("run-1")).latest_event_id == 4


async def test_a_large_private_event_is_stored_whole(driver, event):
    await driver.create("run-1")
    new = event(PRIVATE, context="x" * (4 * 1024 * 1024))
    await driver.append("run-1", new, after=0)
    [stored] = await driver.whole_log("run-1")
    assert stored.payload == new.payload
    assert stored.private


async def test_types_filter_a_page_and_its_bytes_count_only_what_it_shows(driver, event):
    await driver.create("run-1")
    await driver.append(
        "run-1", *(event("STEP_STARTED" if n % 2 else "CUSTOM", x="a" * 50) for n in range(8))
    )
    size = len(event("STEP_STARTED", x="a" * 50).payload)
    assert await numbers(driver, 0, 100, types=["STEP_STARTED"]) == [2, 4, 6, 8]
    assert await numbers(driver, 2, 2, types=["STEP_STARTED"]) == [4, 6]
    assert await numbers(driver, 0, 100, types=["STEP_STARTED"], bytes_max=2 * size) == [2, 4]
    assert await numbers(driver, 0, 100, types=["STEP_STARTED", "CUSTOM"]) == list(range(1, 9))
    assert await numbers(driver, 0, 100, types=["UNKNOWN"]) == []


async def test_a_run_that_does_not_exist_has_no_events(driver):
    assert await driver.runs.events(404, 0, 100) == []
    assert (await driver.runs.attempts(404)).rows == []


async def test_a_tail_holds_what_came_after_private_events_too(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event(), event(PRIVATE), event(), after=0)
    assert await tail(driver, 0) == [1, 2, 3]
    assert await tail(driver, 1) == [2, 3]
    assert await tail(driver, 3) == []
    assert await tail(driver, 99) == []
    assert await tail(driver, 2**53 - 1) == []


async def test_no_tail_comes_unless_it_is_wanted(driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event())
    assert await tail(driver, None) == []


async def test_a_tail_is_one_appends_worth_at_most(driver, event):
    await driver.create("run-1")
    for _ in range(3):
        await driver.append("run-1", *(event() for _ in range(90)))
    assert await tail(driver, 20) == list(range(21, 121))


async def test_a_repeated_append_stores_nothing(driver, event):
    await driver.create("run-1")
    batch = [event(n=n) for n in range(100)]
    first = await driver.append("run-1", *batch, after=0)
    again = await driver.append("run-1", *batch, after=0)
    assert again.transition.duplicate
    assert again.run == first.run
    assert await numbers(driver, 0, 500) == list(range(1, 101))


async def test_a_half_known_append_stores_only_the_rest(driver, event):
    await driver.create("run-1")
    batch = [event(n=n) for n in range(5)]
    await driver.append("run-1", *batch[:3], after=0)
    written = await driver.append("run-1", *batch, after=0)
    assert len(written.transition.events) == 2
    assert [e.payload for e in await driver.log("run-1")] == [e.payload for e in batch]


async def test_an_append_at_the_wrong_place_stores_nothing(driver, event, refusal):
    await driver.create("run-1")
    await driver.append("run-1", event(n=1))
    assert await refusal(driver.append("run-1", event(n=2), after=0)) == "EVENT_CURSOR_MISMATCH"
    assert await refusal(driver.append("run-1", event(n=2), after=2)) == "EVENT_CURSOR_MISMATCH"
    assert await refusal(driver.append("run-1", event(n=2), sequence=0)) == "EVENT_CURSOR_MISMATCH"
    assert len(await driver.log("run-1")) == 1


async def test_concurrent_appends_at_one_place_store_one_of_them(driver, event):
    await driver.create("run-1")
    appends = [driver.append("run-1", event(by=n), after=0) for n in range(20)]
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert len(await driver.log("run-1")) == 1


async def test_concurrent_appends_leave_no_gap_and_lose_nothing(driver, event):
    await driver.create("run-1")
    await asyncio.gather(*(driver.append("run-1", event(by=n), event(by=n)) for n in range(30)))
    log = await driver.log("run-1")
    assert [e.event_id for e in log] == list(range(1, 61))
    writers = [msgspec.json.decode(e.payload)["by"] for e in log]
    assert writers[::2] == writers[1::2]
    assert sorted(writers[::2]) == list(range(30))


async def test_the_newest_event_ids_of_many_runs_come_at_once(driver, event):
    for run_id in "abc":
        await driver.create(run_id)
    await driver.append("a", event(), event(), event())
    await driver.append("b", event(), event(PRIVATE), after=0)
    seqs = [(await driver.row(run_id)).seq for run_id in "abc"]
    assert await driver.runs.latest_event_ids([*seqs, 999_999]) == dict(zip(seqs, [3, 2, 0], strict=True))
    assert await driver.runs.latest_event_ids([]) == {}
