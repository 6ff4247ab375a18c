"""Firings of due schedules: planned, fired, skipped, replaced, missed, failed."""

import itertools
import uuid

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.flow import Debounce, KeyedRuns, Unique
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Due, Loaded
from runstead.core.runs.transitions import Firing, fire, fire_due, pause_broken
from runstead.core.schedules.edits import Edit, delete, edit
from runstead.core.schedules.schedule import (
    UNPLANNED,
    Schedule,
    begun,
    ended,
    firing_at,
    firing_id,
    next_fire,
    stored_flow,
    upcoming,
)

NOON = 1_774_008_000_000  # 2026-03-20T12:00Z
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
PROJECT = "11111111-1111-4111-8111-111111111111"
MINE = "22222222-2222-4222-8222-222222222222"


def schedule(expression="0 * * * *", now=NOON, **fields):
    defaults = {
        "id": MINE,
        "project_id": PROJECT,
        "name": "hourly",
        "target_kind": "task",
        "target_id": "count",
    }
    defaults |= {"schedule": expression, "created_at": 0, "updated_at": 0}
    return begun(Schedule(**(defaults | fields)), now)


def running(run_id="run_old", **fields):
    defaults = {
        "uid": run_id,
        "project_id": PROJECT,
        "run_id": run_id,
        "kind": "task",
        "owner_kind": "project",
    }
    defaults |= {"status": RunStatus.PENDING}
    defaults |= {
        "owner_id": PROJECT,
        "root_run_id": run_id,
        "created_at": 0,
        "updated_at": 0,
        "schedule_id": MINE,
    }
    return Run(**(defaults | fields))


def decide(mine, now=None, **facts):
    return fire_due(Due(mine.next_fire_at if now is None else now, mine, **facts))


def test_a_new_schedule_is_planned_from_now_on():
    assert schedule().next_fire_at == NOON + HOUR
    assert schedule(now=NOON - 1).next_fire_at == NOON
    assert schedule("30 2 * * *", timezone="Europe/Berlin").next_fire_at == NOON + 13 * HOUR + 30 * MINUTE


def test_a_due_time_creates_a_run_with_its_planned_time():
    mine = schedule(created_by="ada")
    fired = decide(mine, mine.next_fire_at + 400)
    run = fired.transition.run
    assert (fired.outcome, run.schedule_id, run.trigger_kind, run.trigger_id) == (
        "fired",
        MINE,
        "schedule",
        MINE,
    )
    assert (run.scheduled_at, run.missed_since, run.created_at) == (NOON + HOUR, None, NOON + HOUR + 400)
    assert (run.run_id, run.created_by) == (firing_id(mine, NOON + HOUR), "ada")
    after = fired.schedule
    assert (after.run_count, after.last_scheduled_at, after.next_fire_at) == (
        1,
        NOON + HOUR + 400,
        NOON + 2 * HOUR,
    )
    assert after.version > mine.version


def test_a_firing_has_the_same_run_id_on_every_replica():
    mine = schedule()
    one, other = decide(mine, NOON + HOUR + 1), decide(mine, NOON + HOUR + 900)
    assert one.transition.run.run_id == other.transition.run.run_id
    assert one.transition.run.run_id != firing_id(mine, NOON + 2 * HOUR)
    assert one.transition.run.run_id != firing_id(replace(mine, id=PROJECT), NOON + HOUR)


def test_a_time_whose_run_exists_does_not_fire_again():
    mine = schedule()
    fired = decide(mine, run=running(firing_id(mine, NOON + HOUR)))
    assert (fired.outcome, fired.transition) == ("repeated", None)
    assert (fired.schedule.next_fire_at, fired.schedule.run_count) == (NOON + 2 * HOUR, 0)


def test_a_run_id_of_another_run_is_recorded_as_a_failure_and_the_schedule_goes_on():
    mine = schedule()
    fired = decide(mine, run=running(firing_id(mine, NOON + HOUR), schedule_id=None))
    assert (fired.outcome, fired.schedule.last_failure_code) == ("failed", "RUN_ID_CONFLICT")
    assert (fired.schedule.next_fire_at, fired.schedule.run_count) == (NOON + 2 * HOUR, 0)


def test_an_unplanned_schedule_is_planned_and_fires_nothing():
    mine = replace(schedule(), next_fire_at=UNPLANNED)
    fired = decide(mine, NOON + 10)
    assert (fired.outcome, fired.transition, fired.schedule.next_fire_at) == ("planned", None, NOON + HOUR)


# Policies


def test_forbid_skips_a_time_while_a_run_is_active_and_records_it():
    mine = schedule(concurrency_policy="Forbid")
    fired = decide(mine, running=(running(),))
    after = fired.schedule
    assert (fired.outcome, fired.transition, fired.cancels) == ("skipped", None, ())
    assert (after.last_skipped_at, after.skipped_count, after.run_count) == (NOON + HOUR, 1, 0)
    assert after.last_skipped_reason == "The run run_old had not ended"
    assert decide(after).outcome == "fired"


def test_allow_ignores_active_runs():
    assert decide(schedule(concurrency_policy="Allow"), running=(running(),)).outcome == "fired"


def test_replace_cancels_active_runs_and_names_the_new_run():
    mine = schedule(concurrency_policy="Replace")
    fired = decide(mine, running=(running("run_a"), running("run_b", status=RunStatus.RUNNING)))
    assert fired.outcome == "fired"
    assert [cancel.run.run_id for cancel in fired.cancels] == ["run_a", "run_b"]
    for cancel in fired.cancels:
        assert cancel.run.status is RunStatus.CANCELLED
        assert cancel.cancels_family
        assert b'"REPLACED"' in cancel.run.error
        assert cancel.run.cancel_reason == (
            f"Replaced by {fired.transition.run.run_id}, the next run of its schedule"
        )


def test_replace_with_too_many_active_runs_continues_at_the_next_tick():
    mine = schedule(concurrency_policy="Replace")
    many = tuple(running(f"run_{n}") for n in range(limits.schedule_replaced_runs_max))
    fired = decide(mine, running=many)
    assert (fired.outcome, fired.schedule, fired.transition) == ("replacing", mine, None)
    assert len(fired.cancels) == len(many)
    assert decide(mine, mine.next_fire_at + SECOND).outcome == "fired"


def test_replace_cancels_nothing_if_the_new_run_is_refused():
    mine = schedule(concurrency_policy="Replace", target_kind="agent", conversation_id=PROJECT)
    fired = decide(mine, running=(running(),), conversation_live=False)
    assert (fired.outcome, fired.cancels) == ("failed", ())


# Keys


@pytest.mark.parametrize("policy", ["Allow", "Replace"])
def test_a_unique_key_that_another_run_holds_skips_the_time_and_cancels_nothing(policy):
    mine = schedule(flow=stored_flow(Unique("k"), None), concurrency_policy=policy)
    holder = running("run_other", schedule_id=None, seq=7)
    fired = decide(mine, keyed=KeyedRuns(unique=holder), running=(running(),))
    assert (fired.outcome, fired.transition, fired.cancels) == ("skipped", None, ())
    assert fired.schedule.last_skipped_reason == "The run run_other holds the unique key"
    ended_holder = replace(holder, status=RunStatus.COMPLETED)
    assert decide(mine, keyed=KeyedRuns(unique=ended_holder)).outcome == "fired"


def test_replace_replaces_its_own_run_though_that_holds_the_unique_key():
    own = running("run_own", seq=7, created_at=NOON)
    for unique, outcome in ((Unique("k"), "fired"), (Unique("k", 2 * HOUR // SECOND), "skipped")):
        mine = schedule(flow=stored_flow(unique, None), concurrency_policy="Replace")
        fired = decide(mine, keyed=KeyedRuns(unique=own), running=(own,))
        assert (fired.outcome, len(fired.cancels)) == (outcome, int(outcome == "fired"))


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_the_pending_run_of_a_debounce_takes_over_the_time_whatever_the_policy(policy):
    mine = schedule(flow=stored_flow(None, Debounce("k", 30)), concurrency_policy=policy, config=b'{"n":2}')
    pending = running("run_pending", seq=7, available_at=NOON, config=b"{}", debounce_key="k")
    fired = decide(mine, keyed=KeyedRuns(debounce=pending), running=(pending,))
    assert (fired.outcome, fired.cancels, fired.schedule.run_count) == ("debounced", (), 0)
    taken = fired.transition.run
    assert (taken.run_id, taken.config, taken.debounced) == ("run_pending", b'{"n":2}', 1)
    assert taken.available_at == NOON + HOUR + 30 * SECOND
    claimed = replace(pending, attempt=1)
    assert decide(mine, keyed=KeyedRuns(debounce=claimed)).transition.run.available_at == taken.available_at


# Failures


def test_a_missing_conversation_is_recorded_and_the_next_time_retries():
    mine = schedule(target_kind="agent", conversation_mode="existing", conversation_id=PROJECT)
    fired = decide(mine, conversation_live=False)
    after = fired.schedule
    assert (fired.outcome, after.last_failure_code, after.last_failure_run_id) == (
        "failed",
        "NOT_FOUND",
        None,
    )
    assert (after.last_failure_at, after.health(NOON)) == (NOON + HOUR, "failed")
    assert after.next_fire_at == NOON + 2 * HOUR


def test_a_time_zone_that_was_removed_pauses_the_schedule_with_a_reason():
    mine = replace(schedule(), timezone="Mars/Olympus")
    for late, outcome in (
        (0, "fired"),
        (HOUR, "failed"),
    ):  # after an outage, even the latest time cannot be computed
        fired = decide(mine, mine.next_fire_at + late)
        after = fired.schedule
        assert (fired.outcome, after.status, after.next_fire_at) == (outcome, "paused", None)
        assert "Mars/Olympus" in after.paused_reason


def test_a_schedule_whose_decision_fails_is_paused():
    after = pause_broken(Due(NOON + HOUR, schedule()), "Something went wrong").schedule
    assert (after.status, after.next_fire_at, after.last_failure_code) == ("paused", None, "INTERNAL")


# One-time schedules and max_runs


def test_a_one_time_schedule_fires_once_and_is_completed():
    mine = schedule("", run_at=NOON + 90 * SECOND)
    assert (mine.next_fire_at, upcoming(mine, 5, NOON)) == (NOON + 90 * SECOND, [NOON + 90 * SECOND])
    fired = decide(mine, mine.next_fire_at + 100)
    assert (fired.outcome, fired.transition.run.scheduled_at) == ("fired", NOON + 90 * SECOND)
    after = fired.schedule
    assert (after.completed_at, after.next_fire_at, after.fires) == (NOON + 90 * SECOND + 100, None, False)
    assert upcoming(after, 5, NOON) == []


@pytest.mark.parametrize("facts", [{"running": (running(),)}, {"conversation_live": False}])
def test_a_one_time_schedule_is_completed_even_without_a_run(facts):
    after = decide(schedule("", run_at=NOON + HOUR), **facts).schedule
    assert (after.run_count, after.completed_at, after.next_fire_at) == (0, NOON + HOUR, None)


def test_a_run_at_in_the_past_is_refused():
    with pytest.raises(Error, match="has passed") as caught:
        schedule("", run_at=NOON)
    assert caught.value.errors[0][0] == "$.run_at"


def test_the_last_run_completes_the_schedule():
    mine = schedule(max_runs=2)
    assert upcoming(mine, 5, NOON) == [NOON + HOUR, NOON + 2 * HOUR]
    once = decide(mine).schedule
    assert upcoming(once, 5, NOON) == [NOON + 2 * HOUR]
    twice = decide(once).schedule
    assert (twice.run_count, twice.completed_at, twice.next_fire_at) == (2, NOON + 2 * HOUR, None)


def test_a_manual_run_that_is_the_last_one_completes_the_schedule():
    by_hand = Firing(run_id="r", uid="u", message_id="m", conversation_id="c", trigger_kind="manual")
    after = fire(Loaded(NOON, schedule=schedule(max_runs=1)), by_hand).schedule
    assert (after.completed_at, after.next_fire_at) == (NOON, None)


# Outages


@pytest.mark.parametrize(
    ("late", "at", "missed_since"),
    [
        (59 * SECOND, NOON + HOUR, None),
        (MINUTE, NOON + HOUR, NOON + HOUR),
        (HOUR - 1, NOON + HOUR, NOON + HOUR),
        (5 * HOUR + 10, NOON + 6 * HOUR, NOON + HOUR),
        (400 * DAY, NOON + HOUR + 400 * DAY, NOON + HOUR),
    ],
)
def test_after_an_outage_one_run_is_created_for_the_latest_time(late, at, missed_since):
    mine = schedule()
    fired = decide(mine, mine.next_fire_at + late)
    run, after = fired.transition.run, fired.schedule
    assert (run.scheduled_at, run.missed_since) == (at, missed_since)
    assert (after.last_missed_at, after.missed_count) == (missed_since, int(missed_since is not None))
    assert after.next_fire_at > mine.next_fire_at + late


def test_times_that_passed_during_a_pause_or_an_edit_do_not_fire_later():
    mine = edit(schedule(), Edit(status="paused"), NOON + 1)
    assert mine.next_fire_at is None
    back = edit(mine, Edit(status="active"), NOON + 5 * HOUR + 1)
    assert (back.next_fire_at, back.missed_count) == (NOON + 6 * HOUR, 0)
    other = edit(schedule(), Edit(members={"schedule": "30 * * * *"}), NOON + 5 * HOUR + 1)
    assert other.next_fire_at == NOON + 5 * HOUR + 30 * MINUTE


# Being deleted


def test_a_deleted_schedule_stays_until_its_runs_have_ended():
    mine = delete(schedule(), NOON)
    assert (mine.status, mine.next_fire_at, mine.fires) == ("deleting", NOON, False)
    waits = decide(mine, running=(running(),))
    assert (waits.outcome, waits.transition) == ("deleting", None)
    assert waits.schedule.next_fire_at == NOON + limits.schedule_deleting_ms
    assert decide(waits.schedule).schedule is None


# Health


def test_a_schedule_is_stale_if_its_last_success_is_too_old():
    mine = schedule(max_staleness_seconds=60)
    assert (mine.health(NOON + MINUTE), mine.health(NOON + MINUTE + 1)) == (None, "stale")
    run = running(status=RunStatus.COMPLETED, completed_at=NOON + MINUTE)
    good = ended(mine, run)
    assert (good.health(NOON + 2 * MINUTE), good.health(NOON + 2 * MINUTE + 1)) == ("healthy", "stale")
    bad = ended(good, replace(run, status=RunStatus.FAILED, completed_at=NOON + 2 * MINUTE))
    assert bad.health(NOON + 9 * MINUTE) == "failed"


def test_a_schedule_that_does_not_fire_is_not_stale():
    mine = schedule(max_staleness_seconds=60, max_runs=1)
    assert edit(mine, Edit(status="paused"), NOON).health(NOON + DAY) is None
    assert decide(mine).schedule.health(NOON + 9 * DAY) is None


# Laws

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut")
EXPRESSIONS = (
    "* * * * *",
    "*/20 * * * *",
    "30 2 * * *",
    "0 0 * * *",
    "15 1,2 * * *",
    "0 */6 * * *",
    "45 23 28-31 * SUN",
)
#: Around the nights in which clocks change, and in between
STARTS = tuple(NOON + days * DAY for days in (-20, 8, 14, 190, 218, 225))


@settings(max_examples=60, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    steps=st.lists(st.sampled_from((500, 10 * SECOND, MINUTE, 20 * MINUTE, 3 * HOUR, 2 * DAY)), max_size=25),
)
def test_planning_never_goes_backwards_and_each_time_fires_once_at_most(expression, zone, start, steps):
    mine = schedule(expression, start, timezone=zone, concurrency_policy="Allow")
    now, stood_for, looked_at = start, [], [start]
    for step in steps:
        now += step
        if mine.next_fire_at > now:
            continue
        planned_at = mine.next_fire_at
        fired = decide(mine, now)
        run = fired.transition.run
        assert planned_at <= run.scheduled_at <= now < fired.schedule.next_fire_at
        # It is a time of the expression, and the latest one up to now.
        assert next_fire(mine, run.scheduled_at - 1) == run.scheduled_at
        assert next_fire(mine, run.scheduled_at) == fired.schedule.next_fire_at
        mine = fired.schedule
        stood_for.append(run.scheduled_at)
        looked_at.append(now)
    assert all(earlier < later for earlier, later in itertools.pairwise(stood_for))
    assert mine.run_count == len(stood_for)


@settings(max_examples=40, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    late=st.integers(0, 3 * DAY),
)
def test_the_latest_time_equals_that_of_a_linear_search(expression, zone, start, late):
    mine = schedule(expression, start, timezone=zone)
    now = mine.next_fire_at + late % (2 * HOUR if expression == "* * * * *" else 3 * DAY)
    walked = at = mine.next_fire_at
    while at is not None and at <= now:
        walked, at = at, next_fire(mine, at)
    assert firing_at(mine, now) == walked


@given(uuid=st.uuids(), times=st.sets(st.integers(0, limits.timestamp_ms_max), max_size=5))
def test_different_times_have_different_run_ids(uuid, times):
    mine = replace(schedule(), id=str(uuid))
    assert len({firing_id(mine, at) for at in times}) == len(times)


def test_ids_of_a_firing_are_uuids():
    mine = schedule(target_kind="agent", conversation_mode="create_new")
    transition = decide(mine).transition
    for name in (transition.run.uid, transition.message.id, transition.conversation.id):
        uuid.UUID(name)
    assert transition.run.conversation_id == transition.message.conversation_id == transition.conversation.id
