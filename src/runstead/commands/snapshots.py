"""Snapshots of a run's log, for clients that join late."""

from typing import NamedTuple

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.conversations.input_request import InputRequest
from runstead.core.conversations.projection import Projection
from runstead.core.identity.principal import Principal
from runstead.core.runs.run import OMITTABLE, Run
from runstead.ports.store import SeqPage


class Snapshot(NamedTuple):
    """A run with the projection of its events, its agent children and its input requests."""

    run: Run
    projection: Projection
    children: list[Run]
    inputs: list[InputRequest]


async def get(app: App, principal: Principal, run_ref: RunRef) -> Snapshot:
    """Project the run's public events, with at most `limits.snapshot_children_max` children.

    At most `limits.snapshot_inputs_max` input requests are read. Raises NOT_FOUND.
    """
    run = await runs.get(app, principal, run_ref)
    projection, _, _ = await app.projections.build(run.seq, run.latest_event_id)
    page = SeqPage(limits.snapshot_children_max, omit=OMITTABLE - {"agent"})
    children = (await app.store.runs.children(run.seq, page, kind="agent")).rows
    inputs = await app.store.inputs.of_run(run.seq, limits.snapshot_inputs_max)
    return Snapshot(run, projection, children, inputs)
