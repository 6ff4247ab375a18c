"""`runstead schedules update|sync`."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from cyclopts import App, Parameter
from msgspec import UNSET

from runstead.cli.shared.command import Client, Output, command, one_line
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import NO_FLOW_CONTROL, FlowControl
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import json_list, parse_time, read_config
from runstead.cli.shared.render import format_time, safe

if TYPE_CHECKING:
    from runstead.sdk.models.schedule import Schedule

schedules = App(name="schedules", help="Create and manage schedules.")
ScheduleId = Annotated[str, Parameter(help="The schedule's id, or its name if no other has it")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The options of the commands that create and change a schedule."""

    cron: Annotated[str | None, Parameter(help="Five cron fields, such as '0 6 * * 1'")] = None
    at: Annotated[str | None, Parameter(help="One-time: a time, or a duration from now such as 10m")] = None
    timezone: Annotated[
        str | None, Parameter(help="IANA time zone of the cron fields; a new schedule has UTC")
    ] = None
    concurrency: Annotated[
        Literal["Allow", "Forbid", "Replace"] | None, Parameter(help="If the previous run has not ended")
    ] = None
    timeout_seconds: Annotated[int | None, Parameter(help="Timeout of a run's attempt")] = None
    backoff_limit: Annotated[int | None, Parameter(help="Max retries of lost attempts")] = None

    def members(self) -> dict[str, Any]:
        """The members of the API's request, None where an option is missing."""
        return {
            "schedule": self.cron,
            "run_at": parse_time("--at", self.at, ahead=True),
            "timezone": self.timezone,
            "concurrency_policy": self.concurrency,
            "timeout_seconds": self.timeout_seconds,
            "backoff_limit": self.backoff_limit,
        }


NO_SETTINGS: Final = ScheduleSettings()


def schedule_id_of(client: Client, id_or_name: str) -> str:
    """Return the id of the schedule. Ends the program if several schedules have the name."""
    with suppress(ValueError):
        return str(UUID(id_or_name))
    named = [one.id for one in client.schedules.iter() if one.name == id_or_name]
    if len(named) > 1:
        fail(f"{len(named)} schedules are named {id_or_name!r}: use the id, one of {', '.join(named)}", USAGE)
    return named[0] if named else id_or_name


def read_target(text: str) -> dict[str, str]:
    """The kind and id of a target such as task:report."""
    kind, separator, target_id = text.partition(":")
    if not separator:
        fail(f"a target is task:…, workflow:… or agent:…, not {text!r}", USAGE)
    return {"kind": kind, "id": target_id}


@command(schedules, "update", project=True)
def update_schedule(
    client: Client,
    schedule_id: ScheduleId,
    /,
    *,
    name: Annotated[str | None, "Name of the schedule"] = None,
    target: Annotated[str | None, "task:…, workflow:… or agent:…"] = None,
    settings: ScheduleSettings = NO_SETTINGS,
    flow: FlowControl = NO_FLOW_CONTROL,
    config: Annotated[list[str] | None, "name=value, merged into its config; may repeat"] = None,
    config_json: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="The new config: a JSON object, @file or - for stdin"),
    ] = None,
    max_runs: Annotated[int | None, "Complete the schedule after this number of runs; 0: never"] = None,
    remove: Annotated[
        list[Literal["concurrency-key", "unique", "debounce"]] | None, "Remove a key of its runs; may repeat"
    ] = None,
) -> Output:
    """Change a schedule. Options that are missing change nothing."""
    if settings.cron is not None and settings.at is not None:
        fail("use one of --cron and --at", USAGE)
    changes: dict[str, Any] = (
        settings.members()
        | flow.members()
        | {
            "name": name,
            "target": None if target is None else read_target(target),
            "config": read_config(config or [], config_json),
        }
    )
    changes = {member: UNSET if one is None else one for member, one in changes.items()}
    changes["max_runs"] = UNSET if max_runs is None else max_runs or None
    changes |= dict.fromkeys(name.replace("-", "_") for name in remove or ())
    if all(one is UNSET for one in changes.values()):
        fail("name what to change: see --help", USAGE)
    one_id = schedule_id_of(client, schedule_id)
    if changes["config"] is not UNSET and config_json is None:
        changes["config"] = (client.schedules.get(one_id).config or {}) | changes["config"]
    one = client.schedules.update(one_id, **changes).schedule
    after = f", next {format_time(one.next_fire_at)}" if one.next_fire_at else ""
    return one_line(one, f"{one.id}  {one.status}{after}")


@command(schedules, "sync", project=True)
def sync_schedules(
    client: Client,
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True, help="A JSON file of schedules as in the API's request; or - for stdin"
        ),
    ],
    /,
    *,
    app: Annotated[str | None, "Set those of this app of workers, instead of the project's source"] = None,
) -> Output:
    """Set the project's source schedules to those of a file. Those missing in the file are deleted."""
    wanted = _wanted(file)
    synced = client.schedules.sync(wanted, app=app)
    changed = [
        *_lines("created", synced.created),
        *_lines("updated", synced.updated),
        *_lines("removed", synced.removed),
    ]
    return Output(synced, "\n".join(changed), f"runstead: {len(synced.unchanged)} unchanged")


def _wanted(file: str) -> list[Any]:
    found = json_list("the file", "-" if file == "-" else f"@{file}")
    if len(found) == 1 and isinstance(found[0], dict) and isinstance(found[0].get("schedules"), list):
        return list(found[0]["schedules"])  # the file is a whole request
    return found


def _lines(what: str, found: "list[Schedule]") -> list[str]:
    return [f"{what}  {safe(one.id)}  {safe(one.source_trigger_id or one.name)}" for one in found]
