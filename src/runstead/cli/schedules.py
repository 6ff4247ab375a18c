"""`runstead schedules …`. What changes one that is there, or many, is in `schedule_changes.py`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli import schedule_changes
from runstead.cli.app import AsJson
from runstead.cli.schedule_changes import USAGE, ScheduleId, read_target
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.sdk import Schedule

schedules = App(name="schedules", help="What starts by itself, and when.")
schedules.command(schedule_changes.update_schedule, name="update")
schedules.command(schedule_changes.sync_schedules, name="sync")


@schedules.command(name="list")
def list_schedules(
    *,
    status: Annotated[Literal["active", "paused", "deleting"] | None, Parameter(help="Only these")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List a project's schedules, oldest first."""
    from runstead.cli.shared.render import Column, Screen, age  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_schedules(status=status).schedules
    screen = Screen.of()
    columns: list[Column[Schedule]] = [
        Column("SCHEDULE", lambda one: one.id, whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("NAME", lambda one: one.name),
        Column("WHEN", _times, leaves=2),
        Column("TARGET", lambda one: f"{one.target.kind}:{one.target.id}", leaves=3),
        Column("NEXT", lambda one: age(one.next_fire_at, screen), leaves=1, whole=True),
        Column("RUNS", lambda one: str(one.run_count), leaves=5, number=True),
        Column("HEALTH", lambda one: str(one.health or ""), leaves=4),
    ]
    print_list(found, columns, "schedules", json=json)


def _times(one: "Schedule") -> str:
    from runstead.cli.shared.render import when  # noqa: PLC0415

    return f"{one.schedule} {one.timezone}" if one.schedule else f"once at {when(one.run_at)}"


@schedules.command(name="get")
def get_schedule(schedule_id: ScheduleId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Show one schedule."""
    with connected(reach, project=True) as client:
        _show(client.get_schedule(schedule_id), json=json)


def _show(one: "Schedule", *, json: bool) -> None:
    from runstead.cli.shared.render import Screen, document, members, value, when  # noqa: PLC0415

    if json:
        say(document(one))
        return
    told = [
        ("schedule", one.id),
        ("status", one.status),
        ("name", one.name),
        ("when", _times(one)),
        ("target", f"{one.target.kind}:{one.target.id}"),
        ("source", one.source_path if one.definition_source != "manual" else None),
        ("config", value(one.config)),
        ("concurrency", one.concurrency_policy),
        ("next", when(one.next_fire_at)),
        ("runs", f"{one.run_count}{'' if one.max_runs is None else f' of {one.max_runs}'}"),
        ("health", value(one.health)),
        ("last success", when(one.last_successful_at)),
        ("last failure", when(one.last_failure_at)),
        ("failure", one.last_failure_message or one.last_failure_code),
        ("failed run", one.last_failure_run_id),
        ("skipped", f"{one.skipped_count}, last {one.last_skipped_reason}" if one.skipped_count else None),
        ("missed", f"{one.missed_count}, last {when(one.last_missed_at)}" if one.missed_count else None),
        ("paused", " ".join(filter(None, (when(one.paused_at), one.paused_reason)))),
        ("completed", when(one.completed_at)),
    ]
    say(members([(name, text or None) for name, text in told], Screen.of()))


@schedules.command(name="create")
def create_schedule(
    target: Annotated[str, Parameter(help="task:…, workflow:… or agent:…")],
    /,
    *,
    name: Annotated[str, Parameter(help="What people call it")],
    cron: Annotated[str | None, Parameter(help="Five fields, like '0 6 * * 1'")] = None,
    at: Annotated[str | None, Parameter(help="Once: a time, or a span from now such as 10m")] = None,
    timezone: Annotated[str | None, Parameter(help="In which the fields are read; else UTC")] = None,
    config: Annotated[
        list[str] | None, Parameter(help="name=value, the value JSON or text; may repeat", negative="")
    ] = None,
    config_json: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="A JSON object, @file or - for stdin")
    ] = None,
    concurrency: Annotated[
        Literal["Allow", "Forbid", "Replace"] | None, Parameter(help="What if the last run goes on")
    ] = None,
    max_runs: Annotated[int | None, Parameter(help="Complete it after so many")] = None,
    timeout_seconds: Annotated[int | None, Parameter(help="Fail a run after so long")] = None,
    backoff_limit: Annotated[int | None, Parameter(help="How many lost attempts are tried again")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Create a schedule: with --cron again and again, with --at once."""
    from runstead.cli.shared.parsing import config as read_config, moment  # noqa: PLC0415
    from runstead.cli.shared.render import document  # noqa: PLC0415

    aim = read_target(target)
    if (cron is None) == (at is None):
        refuse("say when: --cron or --at, one of them", USAGE)
    with connected(reach, project=True) as client:
        made = client.create_schedule(
            name,
            aim,
            cron,
            run_at=None if at is None else moment("--at", at, ahead=True),
            timezone=timezone,
            config=read_config(config or [], config_json),
            concurrency_policy=concurrency,
            max_runs=max_runs,
            timeout_seconds=timeout_seconds,
            backoff_limit=backoff_limit,
        ).schedule
    say(document(made) if json else made.id)


@schedules.command(name="pause")
def pause_schedule(
    schedule_id: ScheduleId,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="For whoever looks")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Let a schedule start nothing until it is resumed; its runs go on."""
    with connected(reach, project=True) as client:
        _changed(client.pause_schedule(schedule_id, reason).schedule, "paused", json=json)


@schedules.command(name="resume")
def resume_schedule(schedule_id: ScheduleId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Let a paused schedule start runs again, from its next time on."""
    from runstead.cli.shared.render import when  # noqa: PLC0415

    with connected(reach, project=True) as client:
        one = client.resume_schedule(schedule_id).schedule
    _changed(one, f"active, next {when(one.next_fire_at)}" if one.next_fire_at else one.status, json=json)


@schedules.command(name="run")
def run_schedule(schedule_id: ScheduleId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Start a run of it now, and print the run's id."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        started = client.run_schedule(schedule_id)
    say(document(started) if json else safe(started.run_id))


@schedules.command(name="delete")
def delete_schedule(schedule_id: ScheduleId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Delete a schedule. It is gone once its runs have ended; they stay."""
    with connected(reach, project=True) as client:
        _changed(client.delete_schedule(schedule_id).schedule, "deleting", json=json)


def _changed(one: "Schedule", how: str, *, json: bool) -> None:
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    say(document(one) if json else f"{safe(one.id)}  {how}")


@schedules.command(name="upcoming")
def upcoming(
    schedule_id: ScheduleId,
    /,
    *,
    count: Annotated[int, Parameter(help="How many, at most 100")] = 10,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Print the next times at which it starts a run."""
    from runstead.cli.shared.render import document, when  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.upcoming_times(schedule_id, count=count)
    if json:
        say(document(found.data))
    elif found.data:
        say("\n".join(map(when, found.data)))
    else:
        tell("it starts nothing by itself: it is paused, or has had all its runs")
