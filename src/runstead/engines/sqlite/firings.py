"""Loads the state that decides a due firing of a schedule."""

import sqlite3
from typing import Final

from runstead.core.queue.push_service import choose
from runstead.core.runs.flow import NO_KEYED_RUNS, wanted_keys
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Due
from runstead.core.schedules.schedule import Schedule, firing_at, firing_id
from runstead.engines.sqlite.load_run import load_keyed
from runstead.engines.sqlite.related import services_reaching
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer

_CONVERSATION: Final = "SELECT 1 FROM conversations WHERE id = ? AND status <> 'deleted'"


def load_due(connection: sqlite3.Connection, writer: Writer, schedule: Schedule, now: int) -> Due:
    at = firing_at(schedule, now)
    row = None
    if at is not None:
        row = connection.execute(Q["run_by_key"], (firing_id(schedule, at), schedule.project_id)).fetchone()
    conversation_id = schedule.conversation_id
    service = None
    if schedule.target_kind == "agent":
        service = choose(services_reaching(connection, (schedule.project_id,), now), schedule.target_id)
    wanted = wanted_keys(schedule.flow_control, schedule.target)
    return Due(
        now=now,
        schedule=schedule,
        run=None if row is None else to_run(row),
        running=_running(connection, schedule),
        conversation_live=conversation_id is None
        or connection.execute(_CONVERSATION, (conversation_id,)).fetchone() is not None,
        push_service_id=None if service is None else service.id,
        keyed=NO_KEYED_RUNS
        if wanted is None
        else load_keyed(connection, writer, schedule.project_id, wanted),
    )


def _running(connection: sqlite3.Connection, schedule: Schedule) -> tuple[Run, ...]:
    limit = schedule.runs_looked_at
    if limit == 0:
        return ()
    return tuple(
        to_run(row) for row in connection.execute(Q["active_runs_of_schedule"], (schedule.id, limit))
    )
