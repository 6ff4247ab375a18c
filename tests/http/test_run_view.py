"""The public forms of a run show each value under its own name."""

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core.clock import iso
from runstead.core.runs.run import FIELDS, AgentDetails, Run, RunStatus
from runstead.http.run_view import ProjectionView, RunView, projection, run_view
from runstead.http.worker_run_view import WorkerRun, worker_run

NOON = 1_774_008_000_000
JSON = {"labels", "metadata", "artifacts", "config", "input", "output", "error", "progress", "retry_from"}
TIMES = {name for name in FIELDS if name.endswith(("_at", "_since"))}
#: Fields that a view shows in a form of its own, and the counters that it shows together.
OTHERWISE = {"status", "waiting_reason", "request_snapshot", "agent", "lease_owner", "lease_expires_at"}
OTHERWISE |= {"pinned_available_at", "priority"}


def distinct(name, place):
    """A value that no other field has."""
    if name in TIMES:
        return NOON + place
    if name in JSON:
        return msgspec.json.encode({"of": name})
    hint = Run.__annotations__[name]
    if hint == bool | None:
        return True
    return place if hint is int or hint == int | None else name


#: A run in which every field has another value.
RUN = Run(
    **{name: distinct(name, place) for place, name in enumerate(FIELDS) if name not in OTHERWISE},
    status=RunStatus.RUNNING,
    lease_owner="lease_owner",
    lease_expires_at=NOON + len(FIELDS),
    agent=msgspec.json.encode(
        AgentDetails(**{name: f"agent {name}" for name in AgentDetails.__struct_fields__})
    ),
)
AGENT = msgspec.json.decode(RUN.agent, type=AgentDetails)


def shown(name):
    value = getattr(RUN, name)
    if name in TIMES:
        return iso(value)
    return msgspec.Raw(value) if name in JSON else value


@pytest.mark.parametrize(
    ("make", "view"),
    [(run_view, RunView), (projection, ProjectionView), (lambda run: worker_run(run, None), WorkerRun)],
    ids=["run", "projection", "worker run"],
)
def test_a_member_with_the_name_of_a_field_shows_that_field(make, view):
    made = make(RUN)
    names = [
        name for name in view.__struct_fields__ if name in FIELDS and name not in OTHERWISE - {"lease_owner"}
    ]
    assert len(names) >= 10
    assert {name: getattr(made, name) for name in names} == {name: shown(name) for name in names}


def test_members_of_other_names_show_the_field_that_is_meant():
    view = run_view(RUN)
    assert (view.owner.kind, view.owner.id) == ("owner_kind", "owner_id")
    assert (view.descendants.total, view.descendants.active) == (
        RUN.descendants_total,
        RUN.descendants_active,
    )
    assert (view.cancellation.requested_at, view.cancellation.reason, view.cancellation.stopped_at) == (
        iso(RUN.cancel_requested_at),
        "cancel_reason",
        iso(RUN.cancel_stopped_at),
    )


def test_a_projection_shows_what_its_agent_was_given():
    made = projection(replace(RUN, error=b'{"message":"Broken","code":"E1"}'))
    names = [name for name in ProjectionView.__struct_fields__ if name in AgentDetails.__struct_fields__]
    assert len(names) >= 8
    assert {name: getattr(made, name) for name in names} == {name: getattr(AGENT, name) for name in names}
    assert (made.terminal_error_message, made.terminal_error_code) == ("Broken", "E1")
    assert made.finished_at == iso(RUN.completed_at)
