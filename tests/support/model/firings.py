"""What is due of schedules in memory: loaded, and written."""

from runstead.core.queue.push_service import choose
from runstead.core.runs.flow import KeyedRuns
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Due, Fired
from runstead.core.schedules.schedule import Schedule, firing_at, firing_id
from runstead.ports.store import Written
from tests.support.model.draft import Draft
from tests.support.model.push_services import ModelPushServices
from tests.support.model.rows import Rows


def due_schedules(rows: Rows, now: int, limit: int) -> list[Schedule]:
    found = [
        one for one in rows.schedules.values() if one.next_fire_at is not None and one.next_fire_at <= now
    ]
    return sorted(found, key=lambda one: (one.next_fire_at, one.id))[:limit]


def load_due(rows: Rows, services: ModelPushServices, schedule: Schedule, now: int, keyed: KeyedRuns) -> Due:
    at = firing_at(schedule, now)
    service = None
    if schedule.target_kind == "agent":
        service = choose(services.reached((schedule.project_id,), now), schedule.target_id)
    place = rows.conversations.get(schedule.conversation_id or "")
    return Due(
        now,
        schedule,
        None if at is None else rows.by_id(schedule.project_id, firing_id(schedule, at)),
        _running(rows, schedule),
        schedule.conversation_id is None or (place is not None and place.status != "deleted"),
        None if service is None else service.id,
        keyed,
    )


def _running(rows: Rows, schedule: Schedule) -> tuple[Run, ...]:
    found = [run for run in rows.runs.values() if run.schedule_id == schedule.id and not run.terminal]
    return tuple(sorted(found, key=lambda run: run.seq)[: schedule.runs_looked_at])


def write_fired(rows: Rows, due: Due, fired: Fired) -> tuple[Draft, list[Written]]:
    """A draft with all of it, and what it comes to."""
    draft = Draft(rows, due.now)
    if fired.transition is not None:
        draft.write(due.before(fired.transition), fired.transition)
    for run, transition in zip(due.running, fired.cancels, strict=bool(fired.cancels)):
        draft.write(draft.run(run.seq), transition)
    if fired.schedule is not due.schedule:
        draft.write_schedule(due.schedule, fired.schedule)
    return draft, draft.results()
