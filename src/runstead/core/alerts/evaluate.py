"""The rule: (rule with its state, measurement, now) → fires, resolves, sends again, or nothing."""

import uuid
from typing import Literal, NamedTuple

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.alerts.alert import KINDS, Alert, Firing, Measurement

Event = Literal["alert.fired", "alert.resolved"]


class Evaluation(NamedTuple):
    """The rule after an evaluation. `event`: the message to send, None for none. `firing`: the entry of the history
    that began or ended.
    """

    alert: Alert
    event: Event | None = None
    firing: Firing | None = None


def evaluate(alert: Alert, measured: Measurement | None, now: int) -> Evaluation:
    """Evaluate a rule. A measurement that failed (None) leaves its state. `now` in ms.

    A rule fires once and resolves once: the value must be on the other side of the threshold for `for_seconds`.
    """
    following = replace(alert, evaluate_at=now + limits.alert_interval_s * 1000, version=alert.version + 1)
    if measured is None:
        return Evaluation(following)
    new = _measured(following, measured, now)
    breached = new.value is not None and new.value >= new.threshold
    if breached == (new.firing_since is not None):
        new = replace(new, changing_since=None)
        if not breached or not _repeats(new, now):
            return Evaluation(new)
        return Evaluation(replace(new, notified_at=now), None if new.muted(now) else "alert.fired")
    since = now if new.changing_since is None else new.changing_since
    if now - since < new.for_seconds * 1000:
        return Evaluation(replace(new, changing_since=since))
    new = replace(new, changing_since=None, firing_since=now if breached else None, notified_at=now)
    event: Event = "alert.fired" if breached else "alert.resolved"
    return Evaluation(new, None if new.muted(now) else event, _firing(alert, new, now))


def _repeats(alert: Alert, now: int) -> bool:
    last = alert.notified_at
    return alert.repeat_seconds > 0 and last is not None and now - last >= alert.repeat_seconds * 1000


def _measured(alert: Alert, measured: Measurement, now: int) -> Alert:
    """Return the rule with its new value."""
    number = measured.number
    if KINDS[alert.kind].counts:
        alert = _counted(alert, number or 0, now)
        value: float | None = float(alert.increase)
    elif number is None:
        value = None
    elif alert.kind == "failure_rate":
        value = number / measured.runs if measured.runs >= alert.min_runs else None
    elif alert.kind == "pending_age":
        value = max(now - number, 0) / 1000
    else:
        value = float(number)
    return replace(alert, value=value, evaluated_at=now)


def _counted(alert: Alert, reading: int, now: int) -> Alert:
    """Add what the counter grew by. The increase is forgotten once the counter has not grown for the window. A lower
    reading, after a deletion, is where it counts from; so is the first one.
    """
    increase, at = alert.increase, alert.increased_at
    if at is not None and now - at >= alert.window_seconds * 1000:
        increase, at = 0, None
    if alert.counter is not None and reading > alert.counter:
        increase, at = increase + reading - alert.counter, now
    return replace(alert, counter=reading, increase=increase, increased_at=at)


def _firing(before: Alert, after: Alert, now: int) -> Firing:
    """Return the entry of the history that begins or ends. Its id is derived from the rule and the time."""
    ended = after.firing_since is None
    since = before.firing_since if ended else after.firing_since
    assert since is not None
    return Firing(
        id=firing_id(after, since),
        alert_id=after.id,
        project_id=after.project_id,
        fired_at=since,
        value=before.value if ended else after.value,
        muted=after.muted(now),
        resolved_at=now if ended else None,
        resolved_value=after.value if ended else None,
    )


def firing_id(alert: Alert, since: int) -> str:
    return str(uuid.uuid5(uuid.UUID(alert.id), f"firing:{since}"))
