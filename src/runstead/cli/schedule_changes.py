"""`runstead schedules update|sync`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from msgspec import UNSET

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.sdk import Schedule

ScheduleId = Annotated[str, Parameter(help="The schedule's id")]
USAGE = 2


def read_target(told: str) -> dict[str, str]:
    kind, separator, target_id = told.partition(":")
    if not separator:
        refuse(f"a target is task:…, workflow:… or agent:…, not {told!r}", USAGE)
    return {"kind": kind, "id": target_id}


def update_schedule(
    schedule_id: ScheduleId,
    /,
    *,
    name: Annotated[str | None, Parameter(help="What people call it")] = None,
    target: Annotated[str | None, Parameter(help="task:…, workflow:… or agent:…")] = None,
    cron: Annotated[str | None, Parameter(help="Five fields, like '0 6 * * 1'")] = None,
    at: Annotated[str | None, Parameter(help="Once: a time, or a span from now such as 10m")] = None,
    timezone: Annotated[str | None, Parameter(help="In which the fields are read")] = None,
    config: Annotated[
        list[str] | None, Parameter(help="name=value, put into its config; may repeat", negative="")
    ] = None,
    config_json: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="Its whole config: a JSON object, @file or - for stdin"),
    ] = None,
    concurrency: Annotated[
        Literal["Allow", "Forbid", "Replace"] | None, Parameter(help="What if the last run goes on")
    ] = None,
    max_runs: Annotated[int | None, Parameter(help="Complete it after so many; 0: never")] = None,
    timeout_seconds: Annotated[int | None, Parameter(help="Fail a run after so long")] = None,
    backoff_limit: Annotated[int | None, Parameter(help="How many lost attempts are tried again")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Change a schedule; what is not named stays."""
    from runstead.cli.shared.parsing import config as read_config, moment  # noqa: PLC0415
    from runstead.cli.shared.render import document, safe, when  # noqa: PLC0415

    if cron is not None and at is not None:
        refuse("say when: --cron or --at, one of them", USAGE)
    given: dict[str, Any] = {
        "name": name,
        "target": None if target is None else read_target(target),
        "schedule": cron,
        "run_at": None if at is None else moment("--at", at, ahead=True),
        "timezone": timezone,
        "config": read_config(config or [], config_json),
        "concurrency_policy": concurrency,
        "timeout_seconds": timeout_seconds,
        "backoff_limit": backoff_limit,
    }
    given = {member: UNSET if one is None else one for member, one in given.items()}
    given["max_runs"] = UNSET if max_runs is None else max_runs or None
    if all(one is UNSET for one in given.values()):
        refuse("say what to change: see --help", USAGE)
    with connected(reach, project=True) as client:
        if given["config"] is not UNSET and config_json is None:
            given["config"] = (client.get_schedule(schedule_id).config or {}) | given["config"]
        one = client.update_schedule(schedule_id, **given).schedule
    after = f", next {when(one.next_fire_at)}" if one.next_fire_at else ""
    say(document(one) if json else f"{safe(one.id)}  {one.status}{after}")


def sync_schedules(
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True, help="The schedules as JSON, as the API takes them; or - for stdin"
        ),
    ],
    /,
    *,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Make the schedules of a file those that the project's source defines: one that is missing there is deleted."""
    from runstead.cli.shared.render import document  # noqa: PLC0415

    wanted = _wanted(file)
    with connected(reach, project=True) as client:
        synced = client.sync_source_schedules(wanted)
    if json:
        say(document(synced))
        return
    changed = [
        *_lines("created", synced.created),
        *_lines("updated", synced.updated),
        *_lines("removed", synced.removed),
    ]
    if changed:
        say("\n".join(changed))
    tell(f"runstead: {len(synced.unchanged)} unchanged")


def _wanted(file: str) -> list[Any]:
    from runstead.cli.shared.parsing import json_list  # noqa: PLC0415

    found = json_list("the file", "-" if file == "-" else f"@{file}")
    if len(found) == 1 and isinstance(found[0], dict) and isinstance(found[0].get("schedules"), list):
        return list(found[0]["schedules"])  # the request itself
    return found


def _lines(what: str, found: "list[Schedule]") -> list[str]:
    from runstead.cli.shared.render import safe  # noqa: PLC0415

    return [f"{what}  {safe(one.id)}  {safe(one.source_trigger_id or one.name)}" for one in found]
