"""Alert rules and their history. Times are ms since 1970 UTC."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import invalid_at

AlertKind = Literal["failure_rate", "pending_age", "schedule_missed", "worker_silent", "delivery_failed"]


class Alert(msgspec.Struct, frozen=True):
    """One rule with its state, as a row of the store. Engines store the fields as columns.

    It fires when the measured `value` is at least `threshold` for `for_seconds`, and resolves when it is lower for as
    long. `window_seconds` is the period that a measurement covers. While it fires, it sends again every
    `repeat_seconds` (0: never). `webhook_id` names the webhook that receives its messages; None: all that subscribe
    to alerts.

    State: `evaluate_at` is the next evaluation, None while the rule is disabled. `changing_since` is set while the
    value contradicts the state, but not for `for_seconds` yet. `counter` is the last reading of kinds that count,
    `increase` what it grew by within the window, and `increased_at` when it grew last.
    """

    id: str
    project_id: str
    name: str
    kind: AlertKind
    created_at: int
    updated_at: int
    threshold: float
    target: str | None = None
    schedule_id: str | None = None
    window_seconds: int = limits.alert_window_s_default
    min_runs: int = limits.alert_runs_min_default
    for_seconds: int = 0
    repeat_seconds: int = 0
    webhook_id: str | None = None
    created_by: str | None = None
    disabled_at: int | None = None
    muted_at: int | None = None
    muted_until: int | None = None
    evaluate_at: int | None = None
    evaluated_at: int | None = None
    value: float | None = None
    firing_since: int | None = None
    changing_since: int | None = None
    notified_at: int | None = None
    counter: int | None = None
    increase: int = 0
    increased_at: int | None = None
    version: int = 1

    def muted(self, now: int) -> bool:
        """Whether it sends nothing at `now`. Without `muted_until` it is muted until it is unmuted."""
        return self.muted_at is not None and (self.muted_until is None or now < self.muted_until)


class Firing(msgspec.Struct, frozen=True):
    """An entry of the history: from when until when a rule fired, with the values at both times.

    `muted`: no message was sent when it fired. `seq` is the order (0: not stored yet).
    """

    id: str
    alert_id: str
    project_id: str
    fired_at: int
    value: float | None
    muted: bool
    resolved_at: int | None = None
    resolved_value: float | None = None
    seq: int = 0


class Measurement(NamedTuple):
    """A measurement of the store. `number`: failed runs, the time since which the oldest run could be claimed (None if
    there is none), silent workers, or the reading of a counter. `runs`: how many runs completed or failed.
    """

    number: int | None
    runs: int = 0


class _Kind(NamedTuple):
    """`counts`: it reads a counter that only grows. `label`: names the value."""

    threshold: float
    most: float
    label: str
    counts: bool = False


KINDS: Final[Mapping[AlertKind, _Kind]] = {
    "failure_rate": _Kind(0.1, 1, "failure rate"),
    "pending_age": _Kind(300.0, limits.integer_max, "age of the oldest pending run"),
    "schedule_missed": _Kind(1.0, limits.integer_max, "missed times of schedules", counts=True),
    "worker_silent": _Kind(1.0, limits.integer_max, "silent workers"),
    "delivery_failed": _Kind(1.0, limits.integer_max, "webhook deliveries given up", counts=True),
}
TARGET_KINDS: Final = ("failure_rate", "pending_age")
"""The kinds that take a target; without one they measure all runs of the project."""


def check(alert: Alert) -> None:
    """INVALID_REQUEST if a member does not fit the kind."""
    kind = KINDS[alert.kind]
    if not 0 < alert.threshold <= kind.most:
        raise invalid_at("$.threshold", f"The threshold of {alert.kind} is over 0 and at most {kind.most:,g}")
    if alert.target is not None and alert.kind not in TARGET_KINDS:
        raise invalid_at(
            "$.target", f"Only {' and '.join(TARGET_KINDS)} take a target, {alert.kind} does not"
        )
    if alert.schedule_id is not None and alert.kind != "schedule_missed":
        raise invalid_at("$.schedule_id", f"Only schedule_missed takes a schedule_id, {alert.kind} does not")


def format_value(kind: AlertKind, value: float | None) -> str:
    """Return a value or a threshold for people: `12.5%`, `400 s`, `3`; `-` if there is none."""
    if value is None:
        return "-"
    if kind == "failure_rate":
        return f"{value * 100:.4g}%"
    return f"{value:.0f} s" if kind == "pending_age" else f"{value:.6g}"


def default_name(kind: AlertKind, target: str | None) -> str:
    """Name a rule without a name."""
    words = kind.replace("_", " ")
    return (f"{words}: {target}" if target else words)[: limits.name_chars_max]


def changed(alert: Alert, changes: Mapping[str, Any], *, enabled: bool | None, now: int) -> Alert:
    """Return the rule with these members changed. Disabling ends its firing without a message; enabling starts over.

    INVALID_REQUEST if the members do not fit.
    """
    state: dict[str, Any] = {}
    if enabled is not None and enabled == (alert.disabled_at is not None):
        state = dict.fromkeys(("value", "firing_since", "changing_since", "notified_at", "counter"))
        state |= {"disabled_at": None if enabled else now, "evaluate_at": now if enabled else None}
        state |= {"increase": 0, "increased_at": None}
    new = replace(alert, **changes, **state)
    check(new)
    return alert if new == alert else replace(new, updated_at=now, version=alert.version + 1)


def muted(alert: Alert, until: int | None, now: int) -> Alert:
    """Return the rule muted until a time, None for ever. INVALID_REQUEST if the time has passed."""
    if until is not None and until <= now:
        raise invalid_at("$.until", "until has passed: give a time in the future, or null to mute for ever")
    return replace(alert, muted_at=now, muted_until=until, updated_at=now, version=alert.version + 1)


def unmuted(alert: Alert, now: int) -> Alert:
    if alert.muted_at is None:
        return alert
    return replace(alert, muted_at=None, muted_until=None, updated_at=now, version=alert.version + 1)
