"""`runstead schedules …`. The commands `update` and `sync` are in `schedule_changes.py`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli import schedule_changes
from runstead.cli.schedule_changes import (
    NO_SETTINGS,
    ScheduleId,
    ScheduleSettings,
    read_target,
    schedule_id_of,
)
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import NO_FLOW_CONTROL, AsJson, Config, ConfigJson, FlowControl
from runstead.cli.shared.output import fail, write_err, write_out
from runstead.cli.shared.parsing import read_config
from runstead.cli.shared.render import Column, Screen, details, document, format_age, format_time, value
from runstead.cli.shared.results import print_list, print_result

if TYPE_CHECKING:
    from runstead.sdk.models.schedule import Schedule

schedules = App(name="schedules", help="Create and manage schedules.")
schedules.command(schedule_changes.update_schedule, name="update")
schedules.command(schedule_changes.sync_schedules, name="sync")


@schedules.command(name="list")
def list_schedules(
    *,
    status: Annotated[
        Literal["active", "paused", "deleting"] | None, Parameter(help="Only schedules with this status")
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List a project's schedules, oldest first."""
    with connected(server, project=True) as client:
        found = list(client.schedules.iter(status=status))
    screen = Screen.of()
    columns: list[Column[Schedule]] = [
        Column("SCHEDULE", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("NAME", lambda one: one.name),
        Column("WHEN", _times, drop_rank=2),
        Column("TARGET", lambda one: f"{one.target.kind}:{one.target.id}", drop_rank=3),
        Column("NEXT", lambda one: format_age(one.next_fire_at, screen), drop_rank=1, keep_whole=True),
        Column("RUNS", lambda one: str(one.run_count), drop_rank=5, number=True),
        Column("HEALTH", lambda one: str(one.health or ""), drop_rank=4),
        Column("SOURCE", lambda one: one.source_path or "", drop_rank=6),
    ]
    print_list(found, columns, "schedules", json=json)


def _times(one: "Schedule") -> str:
    return f"{one.schedule} {one.timezone}" if one.schedule else f"once at {format_time(one.run_at)}"


@schedules.command(name="get")
def get_schedule(
    schedule_id: ScheduleId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Show one schedule."""
    with connected(server, project=True) as client:
        _show(client.schedules.get(schedule_id_of(client, schedule_id)), json=json)


def _show(one: "Schedule", *, json: bool) -> None:
    if json:
        write_out(document(one))
        return
    rows = [
        ("schedule", one.id),
        ("status", one.status),
        ("name", one.name),
        ("when", _times(one)),
        ("target", f"{one.target.kind}:{one.target.id}"),
        ("source", one.source_path if one.definition_source != "manual" else None),
        ("config", value(one.config)),
        ("concurrency", one.concurrency_policy),
        ("concurrency key", one.concurrency_key),
        ("unique", value(one.unique)),
        ("debounce", value(one.debounce)),
        ("next", format_time(one.next_fire_at)),
        ("runs", f"{one.run_count}{'' if one.max_runs is None else f' of {one.max_runs}'}"),
        ("health", value(one.health)),
        ("last success", format_time(one.last_successful_at)),
        ("last failure", format_time(one.last_failure_at)),
        ("failure", one.last_failure_message or one.last_failure_code),
        ("failed run", one.last_failure_run_id),
        ("skipped", f"{one.skipped_count}, last {one.last_skipped_reason}" if one.skipped_count else None),
        (
            "missed",
            f"{one.missed_count}, last {format_time(one.last_missed_at)}" if one.missed_count else None,
        ),
        ("paused", " ".join(filter(None, (format_time(one.paused_at), one.paused_reason)))),
        ("completed", format_time(one.completed_at)),
    ]
    write_out(details([(name, text or None) for name, text in rows], Screen.of()))


@schedules.command(name="create")
def create_schedule(
    target: Annotated[str, Parameter(help="task:…, workflow:… or agent:…")],
    /,
    *,
    name: Annotated[str, Parameter(help="Name of the schedule")],
    settings: ScheduleSettings = NO_SETTINGS,
    flow: FlowControl = NO_FLOW_CONTROL,
    config: Config = None,
    config_json: ConfigJson = None,
    max_runs: Annotated[int | None, Parameter(help="Complete the schedule after this number of runs")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a schedule: recurring with --cron, one-time with --at."""
    target_members = read_target(target)
    if (settings.cron is None) == (settings.at is None):
        fail("use one of --cron and --at", USAGE)
    with connected(server, project=True) as client:
        made = client.schedules.create(
            name,
            target_members,
            config=read_config(config or [], config_json),
            max_runs=max_runs,
            **settings.members(),
            **flow.members(),
        ).schedule
    print_result(made, made.id, json=json)


@schedules.command(name="pause")
def pause_schedule(
    schedule_id: ScheduleId,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Recorded with the pause")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Pause a schedule: it starts no runs until it is resumed. Its current runs continue."""
    with connected(server, project=True) as client:
        _changed(
            client.schedules.pause(schedule_id_of(client, schedule_id), reason).schedule, "paused", json=json
        )


@schedules.command(name="resume")
def resume_schedule(
    schedule_id: ScheduleId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Resume a paused schedule, from its next time on."""
    with connected(server, project=True) as client:
        one = client.schedules.resume(schedule_id_of(client, schedule_id)).schedule
    _changed(
        one, f"active, next {format_time(one.next_fire_at)}" if one.next_fire_at else one.status, json=json
    )


@schedules.command(name="run")
def run_schedule(
    schedule_id: ScheduleId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Start a run of the schedule now and print the run's id."""
    with connected(server, project=True) as client:
        started = client.schedules.run(schedule_id_of(client, schedule_id))
    print_result(started, started.run_id, json=json)


@schedules.command(name="delete")
def delete_schedule(
    schedule_id: ScheduleId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete a schedule. It disappears when its runs have ended. The runs are kept."""
    with connected(server, project=True) as client:
        _changed(client.schedules.delete(schedule_id_of(client, schedule_id)).schedule, "deleting", json=json)


def _changed(one: "Schedule", how: str, *, json: bool) -> None:
    print_result(one, f"{one.id}  {how}", json=json)


@schedules.command(name="upcoming")
def upcoming(
    schedule_id: ScheduleId,
    /,
    *,
    count: Annotated[int, Parameter(help="Number of times, at most 100")] = 10,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Print the next times at which the schedule starts a run."""
    with connected(server, project=True) as client:
        found = client.schedules.upcoming(schedule_id_of(client, schedule_id), count=count)
    if json:
        write_out(document(found.data))
    elif found.data:
        write_out("\n".join(map(format_time, found.data)))
    else:
        write_err("no upcoming times: the schedule is paused or completed")
