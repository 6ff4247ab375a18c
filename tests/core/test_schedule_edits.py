"""Edits of schedules, and syncs with a project's source."""

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.flow import Debounce, Flow, Unique
from runstead.core.schedules.edits import Edit, check_synced, delete, edit, sync
from runstead.core.schedules.schedule import Schedule, begun

NOON = 1_774_008_000_000  # 2026-03-20T12:00Z
HOUR = 3_600_000
PROJECT = "11111111-1111-4111-8111-111111111111"


def schedule(expression="0 * * * *", **fields):
    defaults = {
        "id": "s",
        "project_id": PROJECT,
        "name": "hourly",
        "target_kind": "task",
        "target_id": "count",
    }
    defaults |= {"schedule": expression, "created_at": 0, "updated_at": 0}
    return begun(Schedule(**(defaults | fields)), NOON)


def source(trigger, source_hash="h1", **fields):
    defaults = {
        "id": f"id-{trigger}-{source_hash}",
        "definition_source": "source",
        "source_trigger_id": trigger,
    }
    return replace(schedule(), **(defaults | {"source_hash": source_hash, "next_fire_at": None} | fields))


def refusal(act, *args):
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value


def test_only_the_given_members_change():
    mine = schedule()
    after = edit(mine, Edit(members={"name": "new", "max_runs": 3}), NOON + 5)
    assert after == replace(mine, name="new", max_runs=3, updated_at=NOON + 5, version=mine.version + 1)


@pytest.mark.parametrize("wanted", [Edit(), Edit(members={"name": "hourly"}), Edit(status="active")])
def test_a_change_that_changes_nothing_writes_nothing(wanted):
    mine = schedule()
    assert edit(mine, wanted, NOON + 5) is mine


def test_other_times_are_planned_from_now_on():
    mine = schedule()
    assert edit(mine, Edit(members={"schedule": "30 * * * *"}), NOON + 1).next_fire_at == NOON + HOUR // 2
    there = edit(schedule("0 14 * * *"), Edit(members={"timezone": "Europe/Berlin"}), NOON + 1)
    assert there.next_fire_at == NOON + HOUR
    assert edit(mine, Edit(members={"name": "n"}), NOON + 2 * HOUR).next_fire_at == NOON + HOUR  # still due


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"schedule": "@daily"}, "$.schedule"),
        ({"timezone": "Nowhere"}, "$.timezone"),
        ({"schedule": "0 0 * * *", "run_at": NOON + HOUR}, "$.schedule"),
        ({"schedule": "", "run_at": NOON}, "$.run_at"),
        ({"conversation_mode": "none"}, "$.target"),
        ({"config": b'"' + b"x" * limits.schedule_config_bytes_max + b'"'}, "$.config"),
    ],
)
def test_an_invalid_edit_is_refused(members, path):
    refused = refusal(edit, schedule(), Edit(members=members), NOON)
    assert (refused.code, refused.errors[0][0]) == ("INVALID_REQUEST", path)


def test_a_key_is_set_kept_and_removed_alone():
    unique, debounce = Unique("u"), Debounce("d", 5)
    mine = edit(schedule(concurrency_key="c"), Edit(flow={"unique": unique}), NOON + 1)
    assert mine.flow_control == Flow("c", unique)
    assert edit(mine, Edit(flow={"unique": unique, "debounce": None}), NOON + 2) is mine
    assert edit(mine, Edit(members={"name": "n"}), NOON + 2).flow == mine.flow
    refused = refusal(edit, mine, Edit(flow={"debounce": debounce}), NOON + 2)
    assert (refused.code, refused.errors[0][0]) == ("INVALID_REQUEST", "$.debounce")
    other = edit(mine, Edit(flow={"unique": None, "debounce": debounce}), NOON + 2)
    assert other.flow_control == Flow("c", debounce=debounce)
    assert edit(other, Edit(flow={"debounce": None}), NOON + 3).flow is None


@pytest.mark.parametrize("flow", [{"unique": Unique("u")}, {"debounce": Debounce("d", 5)}])
def test_a_key_of_runs_of_an_agent_is_refused(flow):
    agent = schedule(target_kind="agent", conversation_mode="none")
    refused = refusal(edit, agent, Edit(flow=flow), NOON)
    assert (refused.code, refused.errors[0][0]) == ("INVALID_REQUEST", f"$.{next(iter(flow))}")
    keyed = edit(schedule(), Edit(flow=flow), NOON)
    to_agent = Edit(members={"target_kind": "agent", "conversation_mode": "none"})
    assert refusal(edit, keyed, to_agent, NOON).code == "INVALID_REQUEST"


def test_a_pause_has_a_reason_and_a_resume_takes_both_away():
    held = edit(schedule(), Edit(status="paused", paused_reason="stock-taking"), NOON + 1)
    assert (held.status, held.paused_at, held.paused_reason) == ("paused", NOON + 1, "stock-taking")
    other = edit(held, Edit(paused_reason="still"), NOON + 2)
    assert (other.paused_at, other.paused_reason) == (NOON + 1, "still")
    assert edit(held, Edit(status="paused"), NOON + 3) is held
    back = edit(other, Edit(status="active"), NOON + 4)
    assert (back.status, back.paused_at, back.paused_reason) == ("active", None, None)


@pytest.mark.parametrize("wanted", [Edit(paused_reason="x"), Edit(status="active", paused_reason="x")])
def test_a_reason_without_a_pause_is_refused(wanted):
    assert refusal(edit, schedule(), wanted, NOON).errors[0][0] == "$.paused_reason"
    assert edit(schedule(), Edit(paused_reason=None), NOON) == schedule()


def test_a_paused_schedule_with_new_times_stays_paused():
    held = edit(schedule(), Edit(status="paused"), NOON)
    after = edit(held, Edit(members={"schedule": "5 * * * *"}), NOON)
    assert (after.status, after.next_fire_at) == ("paused", None)


def test_more_runs_reopen_a_completed_schedule_and_fewer_complete_it():
    full = replace(schedule(max_runs=2), run_count=2, completed_at=NOON, next_fire_at=None)
    more = edit(full, Edit(members={"max_runs": 3}), NOON + 1)
    assert (more.completed_at, more.next_fire_at) == (None, NOON + HOUR)
    assert edit(full, Edit(members={"max_runs": None}), NOON + 1).next_fire_at == NOON + HOUR
    fewer = edit(replace(schedule(), run_count=2), Edit(members={"max_runs": 1}), NOON + 1)
    assert (fewer.completed_at, fewer.next_fire_at) == (NOON + 1, None)
    assert edit(full, Edit(members={"name": "n"}), NOON + 1).completed_at == NOON


def test_another_time_reopens_a_one_time_schedule():
    spent = replace(schedule("", run_at=NOON + 1), completed_at=NOON + 1, next_fire_at=None)
    assert edit(spent, Edit(members={"name": "n"}), NOON + 2).completed_at == NOON + 1
    again = edit(spent, Edit(members={"run_at": NOON + HOUR}), NOON + 2)
    assert (again.completed_at, again.next_fire_at) == (None, NOON + HOUR)
    cron = edit(spent, Edit(members={"schedule": "0 * * * *", "run_at": None}), NOON + 2)
    assert (cron.completed_at, cron.next_fire_at) == (None, NOON + HOUR)


def test_a_schedule_that_is_being_deleted_cannot_be_changed():
    going = delete(schedule(), NOON)
    assert delete(going, NOON + 1) is going
    assert refusal(edit, going, Edit(status="active"), NOON).code == "SCHEDULE_DELETING"


def test_a_source_schedule_can_only_be_paused_and_resumed():
    mine = source("a")
    assert edit(mine, Edit(status="paused", paused_reason="x"), NOON).status == "paused"
    assert refusal(edit, mine, Edit(members={"name": "other"}), NOON).code == "SCHEDULE_FROM_SOURCE"
    assert refusal(delete, mine, NOON).code == "SCHEDULE_FROM_SOURCE"


# Sync


def test_a_sync_creates_updates_deletes_and_keeps_schedules():
    by_hand = replace(schedule(), source_trigger_id="d")
    same, other, gone = source("a"), replace(source("b"), run_count=4), source("c")
    wanted = [source("a"), source("b", "h2", name="renamed"), source("d")]
    synced = sync([by_hand, same, other, gone], wanted, NOON + 1)
    assert synced.unchanged == (same,)
    [updated] = synced.updated
    assert (updated.id, updated.name, updated.source_hash, updated.run_count) == (
        other.id,
        "renamed",
        "h2",
        4,
    )
    assert updated.version == other.version + 1
    [created] = synced.created
    assert (created.source_trigger_id, created.created_at, created.next_fire_at) == (
        "d",
        NOON + 1,
        NOON + HOUR,
    )
    [removed] = synced.removed
    assert (removed.id, removed.status, removed.next_fire_at) == (gone.id, "deleting", NOON + 1)


def test_a_sync_with_nothing_new_writes_nothing():
    known = [source("a"), source("b")]
    synced = sync(known, [source("b"), source("a")], NOON + 1)
    assert (synced.created, synced.updated, synced.removed) == ((), (), ())
    assert set(synced.unchanged) == set(known)


def test_the_hash_decides_whether_a_definition_changed():
    mine = source("a")
    assert sync([mine], [source("a", name="other")], NOON).unchanged == (mine,)


def test_a_sync_does_not_resume_a_paused_schedule():
    held = edit(source("a"), Edit(status="paused", paused_reason="x"), NOON)
    [updated] = sync([held], [source("a", "h2", schedule="5 * * * *")], NOON + 1).updated
    assert (updated.status, updated.paused_reason, updated.next_fire_at) == ("paused", "x", None)


def test_a_schedule_that_returns_while_it_is_being_deleted_is_created_anew():
    going = sync([source("a")], [], NOON).removed[0]
    [created] = sync([going], [source("a")], NOON).created
    assert created.status == "active"


def test_an_error_in_a_sync_names_the_index_of_the_schedule():
    refused = refusal(check_synced, [source("a"), source("b", schedule="@daily")], NOON)
    assert refused.errors[0][0] == "$.schedules[1].schedule"
    assert refused.message.startswith("schedules[1]: ")
    twice = refusal(check_synced, [source("a"), source("a")], NOON)
    assert twice.errors[0][0] == "$.schedules[1].source_trigger_id"
    late = refusal(sync, [], [source("a", schedule="", run_at=NOON)], NOON)
    assert late.errors[0][0] == "$.schedules[0].run_at"


def test_a_sync_cannot_exceed_the_number_of_schedules(monkeypatch):
    monkeypatch.setattr(limits, "schedules_per_project_max", 2)
    assert refusal(sync, [schedule()], [source("a"), source("b")], NOON).code == "SCHEDULE_LIMIT_REACHED"
