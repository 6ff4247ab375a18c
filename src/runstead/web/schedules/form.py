"""The schedule form: converts its fields to a command, and maps each error back to its field."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec

from runstead.commands.schedules import NewSchedule
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.schedules import cron
from runstead.core.schedules.edits import Edit
from runstead.core.schedules.schedule import Schedule
from runstead.http.framework.body import decode_body, invalid
from runstead.http.schedules import CreateSchedule, new_schedule
from runstead.web.framework.form import Fields

Values = dict[str, str]
"""Form values as text. A rejected form shows them again."""

BLANK: Final[Values] = {
    "name": "",
    "target_kind": "task",
    "target_id": "",
    "conversation_mode": "create_new",
    "conversation_id": "",
    "when": "cron",
    "schedule": "",
    "run_at": "",
    "timezone": "UTC",
    "concurrency_policy": "Forbid",
    "max_runs": "",
    "max_staleness_seconds": "",
    "timeout_seconds": str(limits.schedule_timeout_s_default),
    "backoff_limit": str(limits.schedule_backoff_limit_default),
    "config": "{}",
}
_NUMBERS: Final = {
    "timeout_seconds": f"A whole number of seconds, from 1 to {limits.timeout_s_max:,}",
    "backoff_limit": f"A whole number, from 0 to {limits.backoff_limit_max:,}",
    "max_runs": "A whole number from 1 on; empty for no limit",
    "max_staleness_seconds": f"A whole number of seconds, from 1 to {limits.staleness_s_max:,}, or empty",
}
#: Messages for values that `CreateSchedule` rejects, by field.
_EXPECTED: Final = _NUMBERS | {
    "name": f"A name has 1 to {limits.name_chars_max} characters on one line",
    "target_kind": "A target is a task, a workflow or an agent",
    "target_id": "Write the target without its kind: inventory, not task:inventory",
    "conversation_id": "Write the UUID of a conversation",
    "conversation_mode": "Choose create_new, none or existing",
    "schedule": f"Write five cron fields, at most {limits.cron_chars_max} characters, such as 30 2 * * MON-FRI",
    "run_at": "Write a time such as 2026-03-20T12:00, from the year 1970 on",
    "timezone": "Write a time zone of the IANA database, such as Europe/Berlin",
    "concurrency_policy": "Choose Allow, Forbid or Replace",
    "config": "Write a JSON object, such as {}",
}
#: Members whose field has another name. An error of the whole target is always about its conversation.
_FIELDS: Final = {"target.id": "target_id", "target.kind": "target_kind", "target": "conversation_id"}
_INTEGER: Final = re.compile("-?[0-9]{1,18}")


def submitted(fields: Fields) -> Values:
    """The values that were sent; a missing field has its default."""
    return {name: fields.one(name, default) for name, default in BLANK.items()}


def values_of(schedule: Schedule) -> Values:
    """The form values of an existing schedule."""
    values = BLANK | {
        name: str(value)
        for name in BLANK
        if name not in ("when", "run_at", "config") and (value := getattr(schedule, name)) is not None
    }
    values["config"] = msgspec.json.format(schedule.config, indent=2).decode()
    if schedule.run_at is not None:
        values |= {"when": "once", "run_at": local(schedule.run_at, schedule.timezone)}
    return values


def zone_or_utc(name: str) -> tzinfo:
    """The zone, or UTC if the time zone database no longer has it: the page must show the schedule."""
    try:
        return cron.zone(name)
    except Error:
        return UTC


def in_zone(at_ms: int, timezone: str) -> datetime:
    """A time in a zone, in whole seconds; in UTC if the zone's local time would be in the year 10,000."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    try:
        return moment.astimezone(zone_or_utc(timezone))
    except OverflowError:
        return moment


def local(at_ms: int, timezone: str) -> str:
    """A time for `<input type=datetime-local>`: `2026-03-20T12:00:00`, with milliseconds if not 0."""
    text = in_zone(at_ms, timezone).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at_ms % 1000:03d}" if at_ms % 1000 else text


def new(values: Values) -> NewSchedule:
    """The schedule that the form describes. INVALID_REQUEST, with every invalid field."""
    errors: list[tuple[str, str]] = []
    members: dict[str, Any] = {name: values[name] for name in ("name", "timezone", "concurrency_policy")}
    for name in _NUMBERS:
        if _INTEGER.fullmatch(values[name]):
            members[name] = int(values[name])
        elif values[name] or name in ("timeout_seconds", "backoff_limit"):
            errors.append((f"$.{name}", _EXPECTED[name]))
    target = {"kind": values["target_kind"], "id": values["target_id"]}
    if values["target_kind"] == "agent":
        target["conversation_mode"] = values["conversation_mode"]
        if values["conversation_mode"] == "existing":
            target["conversation_id"] = values["conversation_id"]
    members["target"] = target
    if values["when"] == "once":
        try:
            members["run_at"] = _parse_time(values["run_at"], values["timezone"])
        except (ValueError, OverflowError):
            errors.append(("$.run_at", _EXPECTED["run_at"]))
    else:
        members["schedule"] = values["schedule"]
    try:
        members["config"] = decode_body(values["config"].encode(), dict[str, Any])
    except Error as error:
        why = next((message for _, message in error.errors), "it is not JSON")
        errors.append(("$.config", f"{_EXPECTED['config']}: {why}"))
    if errors:
        raise Error("INVALID_REQUEST", errors[0][1], errors=tuple(errors))
    try:
        return new_schedule(msgspec.convert(members, CreateSchedule))
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def _parse_time(text: str, timezone: str) -> datetime:
    """A time; without a zone in the text, in the schedule's zone. ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_or_utc(timezone))


def edit(schedule: Schedule, values: Values) -> Edit:
    """The edit that turns the schedule into what the form describes. INVALID_REQUEST."""
    edited = new(values)
    members = {name: getattr(edited, name) for name in BLANK if name != "when"}
    before = values_of(schedule)
    if all(values[name] == before[name] for name in ("when", "run_at", "timezone")):
        # When clocks are set back, a local time means two instants: an unchanged field keeps the stored one.
        members["run_at"] = schedule.run_at
    return Edit(members=members)


def by_field(refusal: Error) -> dict[str, str]:
    """Error messages by field; under "" the message that belongs to no field and is shown above the form."""
    found: dict[str, str] = {}
    for path, message in refusal.errors:
        member = path.removeprefix("$").removeprefix(".")
        name = _FIELDS.get(member, member.rpartition(".")[2])
        sentence = (
            _EXPECTED.get(name, message) if message.startswith(("Expected", "Invalid", "Object")) else message
        )
        found.setdefault(name if name in BLANK else "", sentence)
    return found or {"": refusal.message}
