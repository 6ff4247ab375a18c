"""The form of a schedule: from its fields to what the commands take, and every refusal back to its field."""

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
"""What stands in the fields, as text: what was typed is shown again where it was refused."""

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
    "max_runs": "A whole number from 1 on, or nothing where it may run for ever",
    "max_staleness_seconds": f"A whole number of seconds, from 1 to {limits.staleness_s_max:,}, or nothing",
}
#: What would be right, where the shape of a value is refused: the rules stand in `CreateSchedule`.
_RIGHT: Final = _NUMBERS | {
    "name": f"A name has 1 to {limits.name_chars_max} characters, all on one line",
    "target_kind": "A target is a task, a workflow or an agent",
    "target_id": "Name the target without its kind, on one line: inventory, not task:inventory",
    "conversation_id": "A conversation is named by its UUID",
    "conversation_mode": "A conversation is create_new, none or existing",
    "schedule": f"Give five fields of cron, of at most {limits.cron_chars_max} characters, such as 30 2 * * MON-FRI",
    "run_at": "Give a moment, such as 2026-03-20T12:00, from the year 1970 on",
    "timezone": "Give a name of the IANA database, such as Europe/Berlin",
    "concurrency_policy": "It is Allow, Forbid or Replace",
    "config": "Give a JSON object, such as {}",
}
#: Members that are no field of their own name. Only what a conversation may not be is said of the target as a whole.
_FIELDS: Final = {"target.id": "target_id", "target.kind": "target_kind", "target": "conversation_id"}
_WHOLE: Final = re.compile("-?[0-9]{1,18}")


def typed(fields: Fields) -> Values:
    """What was sent; a field that is not there is as in a form that nobody filled in."""
    return {name: fields.one(name, default) for name, default in BLANK.items()}


def filled(schedule: Schedule) -> Values:
    """The form of a schedule as it is."""
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
    """The zone, or UTC where it is gone from the database of zones: a page shows such a schedule all the same."""
    try:
        return cron.zone(name)
    except Error:
        return UTC


def in_zone(at_ms: int, timezone: str) -> datetime:
    """A moment by the clocks of a zone, of which whole seconds; in UTC where clocks there would show the year 10,000."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    try:
        return moment.astimezone(zone_or_utc(timezone))
    except OverflowError:
        return moment


def local(at_ms: int, timezone: str) -> str:
    """As a field for a moment has it: `2026-03-20T12:00:00`, parts of a second where there are any."""
    text = in_zone(at_ms, timezone).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at_ms % 1000:03d}" if at_ms % 1000 else text


def new(values: Values) -> NewSchedule:
    """What the form asks for. INVALID_REQUEST, with the fields that are wrong."""
    wrong: list[tuple[str, str]] = []
    members: dict[str, Any] = {name: values[name] for name in ("name", "timezone", "concurrency_policy")}
    for name in _NUMBERS:
        if _WHOLE.fullmatch(values[name]):
            members[name] = int(values[name])
        elif values[name] or name in ("timeout_seconds", "backoff_limit"):
            wrong.append((f"$.{name}", _RIGHT[name]))
    target = {"kind": values["target_kind"], "id": values["target_id"]}
    if values["target_kind"] == "agent":
        target["conversation_mode"] = values["conversation_mode"]
        if values["conversation_mode"] == "existing":
            target["conversation_id"] = values["conversation_id"]
    members["target"] = target
    if values["when"] == "once":
        try:
            members["run_at"] = _moment(values["run_at"], values["timezone"])
        except (ValueError, OverflowError):
            wrong.append(("$.run_at", _RIGHT["run_at"]))
    else:
        members["schedule"] = values["schedule"]
    try:
        members["config"] = decode_body(values["config"].encode(), dict[str, Any])
    except Error as error:
        why = next((said for _, said in error.errors), "it is none")
        wrong.append(("$.config", f"{_RIGHT['config']}: {why}"))
    if wrong:
        raise Error("INVALID_REQUEST", wrong[0][1], errors=tuple(wrong))
    try:
        return new_schedule(msgspec.convert(members, CreateSchedule))
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def _moment(text: str, timezone: str) -> datetime:
    """By the clocks of the schedule's zone, where the text names none. ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_or_utc(timezone))


def edit(schedule: Schedule, values: Values) -> Edit:
    """The change from the schedule to what the form asks for. INVALID_REQUEST."""
    wanted = new(values)
    members = {name: getattr(wanted, name) for name in BLANK if name != "when"}
    before = filled(schedule)
    if all(values[name] == before[name] for name in ("when", "run_at", "timezone")):
        # Where clocks were set back, a local time stands for two moments: what was not touched stays what it was.
        members["run_at"] = schedule.run_at
    return Edit(members=members)


def by_field(refusal: Error) -> dict[str, str]:
    """Field → what is wrong with it; under "" what is no field's, which is said above the form."""
    found: dict[str, str] = {}
    for path, said in refusal.errors:
        member = path.removeprefix("$").removeprefix(".")
        name = _FIELDS.get(member, member.rpartition(".")[2])
        sentence = _RIGHT.get(name, said) if said.startswith(("Expected", "Invalid", "Object")) else said
        found.setdefault(name if name in BLANK else "", sentence)
    return found or {"": refusal.message}
