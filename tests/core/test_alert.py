"""The rule of alerts, without a store: it fires once and resolves once, and what its messages hold."""

import json
import uuid

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.alerts.alert import KINDS, Alert, Measurement, changed, check, muted, unmuted
from runstead.core.alerts.evaluate import evaluate
from runstead.core.alerts.message import TEST, deliveries, summary
from runstead.core.errors import Error
from runstead.core.webhooks.webhook import Webhook, secret_of

NOON = 1_774_008_000_000
ID = "11111111-1111-4111-8111-111111111111"


def rule(kind="worker_silent", **fields):
    given_ = {"id": ID, "project_id": "p", "name": "Rule", "created_at": NOON, "updated_at": NOON}
    return Alert(kind=kind, **(given_ | {"threshold": KINDS[kind].threshold} | fields))


def webhook(**fields):
    given_ = {"id": str(uuid.uuid4()), "project_id": "p", "url": "https://a.test", "events": ("*",)}
    given_ |= {"secret": secret_of(bytes(24)), "created_at": NOON, "updated_at": NOON}
    return Webhook(**(given_ | fields))


def play(alert, steps):
    """Evaluate at each (seconds since the step before, number). Returns [(now, evaluation)]."""
    played, now = [], NOON
    for seconds, number in steps:
        now += round(seconds * 1000)
        evaluation = evaluate(alert, Measurement(number), now)
        played.append((now, evaluation))
        alert = evaluation.alert
    return played


STEPS = st.lists(st.tuples(st.floats(0.001, 400), st.integers(0, 3)), max_size=60)


@given(STEPS, st.integers(0, 900), st.sampled_from([0, 60, 600]), st.booleans())
def test_a_rule_fires_once_and_resolves_once_after_its_time_on_the_other_side(steps, hold, repeat, is_muted):
    alert = rule(threshold=2.0, for_seconds=hold, repeat_seconds=repeat, muted_at=NOON if is_muted else None)
    firing, other_side_since, sent_at = False, None, None
    for now, (after, event, entry) in play(alert, steps):
        breached = after.value >= 2
        if breached == firing:
            other_side_since = None
        elif other_side_since is None:
            other_side_since = now
        turned = other_side_since is not None and now - other_side_since >= hold * 1000
        assert (entry is not None) == turned
        if turned:
            firing, other_side_since, sent_at = breached, None, now
            assert entry.fired_at <= now
            assert (entry.resolved_at is None) == firing
            assert event == (None if is_muted else "alert.fired" if firing else "alert.resolved")
        elif event is not None:
            assert event == "alert.fired"
            assert firing
            assert breached
            assert not is_muted
            assert repeat
            assert now - sent_at >= repeat * 1000
            sent_at = now
        elif is_muted and firing and breached and repeat and now - sent_at >= repeat * 1000:
            sent_at = now
        assert (after.firing_since is not None) == firing
        assert after.evaluate_at == now + limits.alert_interval_s * 1000


@given(STEPS)
def test_the_history_has_no_two_open_entries_and_each_end_names_its_beginning(steps):
    open_entry = None
    for _, (_, _, entry) in play(rule(), steps):
        if entry is None:
            continue
        if entry.resolved_at is None:
            assert open_entry is None
            open_entry = entry
        else:
            assert (entry.id, entry.fired_at) == (open_entry.id, open_entry.fired_at)
            open_entry = None


def test_a_counter_fires_when_it_grows_and_resolves_when_it_has_not_grown_for_the_window():
    played = play(
        rule("schedule_missed", threshold=2.0, window_seconds=900),
        [(1, 7), (15, 7), (15, 8), (15, 9), (885, 9), (15, 9), (15, 9)],
    )
    assert [after.value for _, (after, _, _) in played] == [0, 0, 1, 2, 2, 0, 0]
    assert [event for _, (_, event, _) in played] == [None] * 3 + [
        "alert.fired",
        None,
        "alert.resolved",
        None,
    ]


def test_a_counter_that_falls_after_a_deletion_counts_from_there():
    played = play(rule("delivery_failed"), [(1, 5), (15, 2), (15, 3)])
    assert [after.value for _, (after, _, _) in played] == [0, 0, 1]


def test_a_failure_rate_of_few_runs_is_not_judged():
    alert = rule("failure_rate", threshold=0.5, min_runs=4)
    assert evaluate(alert, Measurement(3, 3), NOON).alert.value is None
    after, event, _ = evaluate(alert, Measurement(2, 4), NOON)
    assert (after.value, event) == (0.5, "alert.fired")
    assert evaluate(after, Measurement(1, 1), NOON + 15_000).event == "alert.resolved"


def test_a_measurement_that_failed_leaves_the_state():
    fired = evaluate(rule(), Measurement(1), NOON).alert
    later = evaluate(fired, None, NOON + 15_000)
    assert (later.event, later.firing) == (None, None)
    changes = {"evaluate_at": fired.evaluate_at, "version": fired.version}
    assert replace(later.alert, **changes) == fired
    assert later.alert.evaluate_at == NOON + 30_000


def test_a_mute_ends_at_its_time_and_one_in_the_past_is_refused():
    quiet = muted(rule(), NOON + 1000, NOON)
    assert [quiet.muted(NOON + ms) for ms in (0, 999, 1000)] == [True, True, False]
    assert muted(rule(), None, NOON).muted(NOON + 10**12)
    assert not unmuted(quiet, NOON).muted(NOON)
    with pytest.raises(Error, match="until has passed"):
        muted(rule(), NOON, NOON)


def test_disabling_ends_the_firing_and_enabling_starts_over():
    fired = evaluate(rule(), Measurement(1), NOON).alert
    off = changed(fired, {}, enabled=False, now=NOON + 1)
    assert (off.firing_since, off.evaluate_at, off.disabled_at) == (None, None, NOON + 1)
    on = changed(off, {}, enabled=True, now=NOON + 2)
    assert (on.disabled_at, on.evaluate_at, on.value) == (None, NOON + 2, None)
    assert changed(on, {"name": on.name}, enabled=True, now=NOON + 3) is on


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "failure_rate", "threshold": 1.5}, "at most 1"),
        ({"kind": "pending_age", "threshold": 0.0}, "over 0"),
        ({"kind": "worker_silent", "target": "task:a"}, "take a target"),
        ({"kind": "pending_age", "schedule_id": ID}, "takes a schedule_id"),
    ],
)
def test_members_that_do_not_fit_the_kind_are_refused(fields, message):
    with pytest.raises(Error, match=message) as caught:
        check(rule(**fields))
    assert caught.value.code == "INVALID_REQUEST"


def test_the_named_webhook_receives_the_message_and_others_do_while_it_is_disabled():
    named, subscribed = webhook(events=("run.failed",)), webhook(events=("alert.fired",))
    alert = rule(webhook_id=named.id)

    def receivers(event, *webhooks):
        return [one.webhook_id for one in deliveries(alert, event, webhooks, NOON)]

    for event in ("alert.fired", "alert.resolved", TEST):
        assert receivers(event, named, subscribed) == [named.id]
    disabled = replace(named, disabled_at=NOON)
    assert receivers("alert.fired", disabled, subscribed) == [subscribed.id]
    assert receivers(TEST, subscribed) == [subscribed.id]
    assert receivers("alert.resolved", subscribed, webhook(events=("run.failed",))) == []


def test_each_format_has_its_body():
    evaluation = evaluate(
        rule("pending_age", name="Queue <!channel> & co"), Measurement(NOON - 400_000), NOON
    )
    hooks = [webhook(format=name) for name in ("standard", "slack", "cloudevents")]
    made = deliveries(evaluation.alert, "alert.fired", hooks, NOON, firing=evaluation.firing)
    standard, slack, cloud = (json.loads(one.payload) for one in made)
    data = standard["data"]
    assert (standard["type"], standard["timestamp"]) == ("alert.fired", "2026-03-20T12:00:00.000Z")
    assert (data["alert_id"], data["value"], data["threshold"]) == (ID, 400, 300)
    assert (data["firing_id"], data["resolved_at"]) == (evaluation.firing.id, None)
    assert slack == {
        "text": "[FIRING] Queue &lt;!channel&gt; &amp; co: age of the oldest pending run 400 s, threshold 300 s"
    }
    assert cloud.pop("data") == data
    assert cloud == {
        "specversion": "1.0",
        "id": made[2].id,
        "source": "/projects/p",
        "type": "alert.fired",
        "subject": f"alerts/{ID}",
        "time": "2026-03-20T12:00:00.000Z",
        "datacontenttype": "application/json",
    }
    again = deliveries(evaluation.alert, "alert.fired", hooks, NOON, firing=evaluation.firing)
    assert [one.id for one in again] == [one.id for one in made]


def test_a_summary_is_one_sentence():
    alert = rule("failure_rate", name="Reports", target="task:report", value=0.254, threshold=0.2)
    assert (
        summary(alert, "alert.resolved")
        == "[RESOLVED] Reports (task:report): failure rate 25.4%, threshold 20%"
    )
    assert summary(rule(), TEST) == "[TEST] Rule: silent workers -, threshold 1"
