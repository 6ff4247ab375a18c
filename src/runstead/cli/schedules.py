"""`runstead schedules …`. The commands `update` and `sync` are in `schedule_changes.py`."""

from typing import TYPE_CHECKING, Annotated, Literal

from runstead.cli.schedule_changes import (
    NO_SETTINGS,
    ScheduleId,
    ScheduleSettings,
    read_target,
    schedule_id_of,
    schedules,
)
from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import NO_FLOW_CONTROL, Config, ConfigJson, FlowControl
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import read_config
from runstead.cli.shared.render import Column, Screen, age_column, details, format_time, value

if TYPE_CHECKING:
    from runstead.sdk.models.schedule import Schedule


@command(schedules, "list", project=True)
def list_schedules(
    client: Client,
    *,
    status: Annotated[
        Literal["active", "paused", "deleting"] | None, "Only schedules with this status"
    ] = None,
) -> Output:
    """List a project's schedules, oldest first."""
    found = list(client.schedules.iter(status=status))
    columns: list[Column[Schedule]] = [
        Column("SCHEDULE", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("NAME", lambda one: one.name),
        Column("WHEN", _times, drop_rank=2),
        Column("TARGET", lambda one: f"{one.target.kind}:{one.target.id}", drop_rank=3),
        age_column("NEXT", lambda one: one.next_fire_at, drop_rank=1),
        Column("RUNS", lambda one: str(one.run_count), drop_rank=5, number=True),
        Column("HEALTH", lambda one: str(one.health or ""), drop_rank=4),
        Column("SOURCE", lambda one: one.source_path or "", drop_rank=6),
    ]
    return listed(found, columns, "schedules")


def _times(one: "Schedule") -> str:
    return f"{one.schedule} {one.timezone}" if one.schedule else f"once at {format_time(one.run_at)}"


@command(schedules, "get", project=True)
def get_schedule(client: Client, schedule_id: ScheduleId, /) -> Output:
    """Show one schedule."""
    one = client.schedules.get(schedule_id_of(client, schedule_id))

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
    return Output(one, details([(name, text or None) for name, text in rows], Screen.of()))


@command(schedules, "create", project=True)
def create_schedule(
    client: Client,
    target: Annotated[str, "task:…, workflow:… or agent:…"],
    /,
    *,
    name: Annotated[str, "Name of the schedule"],
    settings: ScheduleSettings = NO_SETTINGS,
    flow: FlowControl = NO_FLOW_CONTROL,
    config: Config = None,
    config_json: ConfigJson = None,
    max_runs: Annotated[int | None, "Complete the schedule after this number of runs"] = None,
) -> Output:
    """Create a schedule: recurring with --cron, one-time with --at."""
    target_members = read_target(target)
    if (settings.cron is None) == (settings.at is None):
        fail("use one of --cron and --at", USAGE)
    made = client.schedules.create(
        name,
        target_members,
        config=read_config(config or [], config_json),
        max_runs=max_runs,
        **settings.members(),
        **flow.members(),
    ).schedule
    return one_line(made, made.id)


@command(schedules, "pause", project=True)
def pause_schedule(
    client: Client,
    schedule_id: ScheduleId,
    /,
    *,
    reason: Annotated[str | None, "Recorded with the pause"] = None,
) -> Output:
    """Pause a schedule: it starts no runs until it is resumed. Its current runs continue."""
    return _changed(client.schedules.pause(schedule_id_of(client, schedule_id), reason).schedule, "paused")


@command(schedules, "resume", project=True)
def resume_schedule(client: Client, schedule_id: ScheduleId, /) -> Output:
    """Resume a paused schedule, from its next time on."""
    one = client.schedules.resume(schedule_id_of(client, schedule_id)).schedule
    return _changed(one, f"active, next {format_time(one.next_fire_at)}" if one.next_fire_at else one.status)


@command(schedules, "run", project=True)
def run_schedule(client: Client, schedule_id: ScheduleId, /) -> Output:
    """Start a run of the schedule now and print the run's id."""
    started = client.schedules.run(schedule_id_of(client, schedule_id))
    return one_line(started, started.run_id)


@command(schedules, "delete", project=True)
def delete_schedule(client: Client, schedule_id: ScheduleId, /) -> Output:
    """Delete a schedule. It disappears when its runs have ended. The runs are kept."""
    return _changed(client.schedules.delete(schedule_id_of(client, schedule_id)).schedule, "deleting")


def _changed(one: "Schedule", how: str) -> Output:
    return one_line(one, f"{one.id}  {how}")


@command(schedules, "upcoming", project=True)
def upcoming(
    client: Client,
    schedule_id: ScheduleId,
    /,
    *,
    count: Annotated[int, "Number of times, at most 100"] = 10,
) -> Output:
    """Print the next times at which the schedule starts a run."""
    found = client.schedules.upcoming(schedule_id_of(client, schedule_id), count=count)
    if found.data:
        return Output(found.data, "\n".join(map(format_time, found.data)))
    return Output([], note="no upcoming times: the schedule is paused or completed")
