"""The SQL of a claim: lock the next runs for a worker, and skip those that other transactions have locked.

$1 now, $2 the project, $3 how many runs, $4 the seqs that other commands of this transaction use, $5 how many more runs of
each queue partition are read, since others may be locked; then the partitions, kind by kind: an array for each member,
and one for how many runs may be taken.
"""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final, NamedTuple

from runstead.core import limits
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import CLOCK, LOCKED, RUNS
from runstead.engines.sql.queue_partitions import PartitionKind, QueuePartition

_FREE: Final = (
    "seq <> ALL ($4::bigint[])"
    # None of a cancelled batch. `OR` keeps it a filter: a join would give up the index's order.
    " AND (batch_id IS NULL OR NOT EXISTS (SELECT 1 FROM batches AS b WHERE b.id = batch_id"
    " AND b.project_id = runs.project_id AND b.cancel_requested_at IS NOT NULL AND b.completed_at IS NULL))"
)
_LOCK: Final = "FOR UPDATE OF runs SKIP LOCKED"

#: The members of each kind of queue partition.
_MEMBERS: Final[dict[PartitionKind, tuple[str, ...]]] = {
    "kind": ("partition_kind",),
    "target": ("partition_target", "partition_kind"),
    "agent": ("partition_implementation", "partition_key"),
    "agent_target": ("partition_implementation", "partition_key", "partition_target"),
    "key": ("partition_target", "partition_concurrency_key"),
}
_AGENT: Final = (
    "implementation_kind = partition_implementation AND coalesce(worker_key, '') = partition_key"
    " AND kind = 'agent'"
)
#: Lets a statement use the indexes of the wider partitions; see the migration that makes them.
_WIDE: Final = "seq > 0"
_EQUAL: Final[dict[PartitionKind, str]] = {
    "kind": f"kind = partition_kind AND {_WIDE}",
    "target": "coalesce(target, '') = partition_target AND kind = partition_kind",
    "agent": f"{_AGENT} AND {_WIDE}",
    "agent_target": f"{_AGENT} AND coalesce(target, '') = partition_target",
    "key": "target = partition_target AND concurrency_key = partition_concurrency_key",
}


class _Form(NamedTuple):
    """What the SQL of a queue partition depends on."""

    kind: PartitionKind
    pinned: bool

    @property
    def steps(self) -> str:
        return f"steps_{'pinned_' if self.pinned else ''}{self.kind}"

    @property
    def at(self) -> str:
        return "pinned_available_at" if self.pinned else "available_at"

    @property
    def members(self) -> tuple[str, ...]:
        return ("partition_version", *_MEMBERS[self.kind]) if self.pinned else _MEMBERS[self.kind]

    @property
    def queue(self) -> str:
        """The condition of all runs of the partition."""
        version = "worker_version = partition_version AND " if self.pinned else ""
        return f"project_id = $2 AND {version}{_EQUAL[self.kind]}"

    @property
    def head(self) -> str:
        """The condition of the runs that a claim may take, and their order."""
        return f"{self.queue} AND priority = step AND {self.at} <= $1::bigint AND {_FREE} ORDER BY {self.at}, seq"


def claim_sql(partitions: Sequence[QueuePartition]) -> tuple[str, list[Any]]:
    """The statement and its arguments from $6 on, for at least one queue partition."""
    forms, arguments = _parts(partitions)
    return _sql(forms, alone=len(partitions) == 1), arguments


def first_claim_sql(partitions: Sequence[QueuePartition]) -> tuple[str, list[Any]]:
    """The same as the first statement of a transaction. It also selects what `load` does: the time, the transaction's
    number, and whether the project has webhooks, limits and budgets. With limits it takes no run. $1 is the time, NULL
    for the database's.
    """
    forms, arguments = _parts(partitions)
    return _first_sql(forms, alone=len(partitions) == 1), arguments


def _form(partition: QueuePartition) -> _Form:
    return _Form(partition.kind, partition.pinned)


def _parts(partitions: Sequence[QueuePartition]) -> tuple[tuple[_Form, ...], list[Any]]:
    forms: list[_Form] = []
    arguments: list[Any] = []
    for form, found in groupby(sorted(partitions, key=lambda each: (_form(each), each)), _form):
        forms.append(form)
        arguments += columns_of([(*partition.equal, partition.most) for partition in found])
    return tuple(forms), arguments


@cache
def _sql(forms: tuple[_Form, ...], *, alone: bool) -> str:
    steps, first = [], 6
    for form in forms:
        steps.append(_steps(form, first))
        first += len(form.members) + 1
    beginning = f"WITH RECURSIVE {', '.join(steps)}"
    if alone:
        # Read and locked row by row until there are enough. A lower priority is read only if there are not.
        head = f"SELECT {LOCKED} FROM {RUNS} WHERE {forms[0].head} LIMIT partition_most + $5 {_LOCK}"  # noqa: S608 - generated from our own names
        return f"{beginning} SELECT run.* FROM {forms[0].steps} CROSS JOIN LATERAL ({head}) AS run LIMIT $3::bigint"  # noqa: S608 - generated from our own names
    # One short scan for each partition and priority, without locks; then only as many locks as runs. The condition is
    # repeated because another transaction may have taken a row meanwhile.
    with_pinned = any(form.pinned for form in forms)
    heads = " UNION ".join(
        f"SELECT head.*{_version_of(form) if with_pinned else ''} FROM {form.steps} CROSS JOIN LATERAL"  # noqa: S608 - generated from our own names
        f" (SELECT seq, priority, {form.at} AS available_at FROM runs WHERE {form.head} LIMIT partition_most + $5) AS head"
        for form in forms
    )
    free = "available_at <= $1::bigint"
    if with_pinned:  # another transaction may have pinned the run to another version meanwhile
        free = (
            f"CASE WHEN head.version IS NULL THEN {free}"
            " ELSE pinned_available_at <= $1::bigint AND worker_version = head.version END"
        )
    order = "ORDER BY head.priority DESC, head.available_at, head.seq"
    return (
        f"{beginning} SELECT run.* FROM ("  # noqa: S608 - generated from our own names
        f"SELECT * FROM ({heads}) AS head {order} LIMIT $3::bigint + $5"
        ") AS head CROSS JOIN LATERAL ("
        f"SELECT {LOCKED} FROM {RUNS} WHERE seq = ANY (ARRAY[head.seq]) AND {free} ORDER BY seq {_LOCK}"
        f") AS run {order} LIMIT $3::bigint"
    )


def _version_of(form: _Form) -> str:
    return f", {'partition_version' if form.pinned else 'NULL::text'} AS version"


@cache
def _first_sql(forms: tuple[_Form, ...], *, alone: bool) -> str:
    claim = _sql(forms, alone=alone).replace("$1::bigint", "state.now").removesuffix("$3::bigint")
    # A limit of 0 instead of a condition: with limits, no row is locked either.
    claim += "CASE WHEN state.limited THEN 0 ELSE $3::bigint END"
    return (
        "WITH state AS MATERIALIZED ("  # noqa: S608 - our own names
        f"SELECT coalesce($1::bigint, {CLOCK}) AS now, pg_current_xact_id()::text AS xid,"
        " (SELECT true FROM webhooks WHERE project_id = $2 AND disabled_at IS NULL LIMIT 1) IS TRUE AS hooked,"
        " (SELECT true FROM concurrency_limits WHERE project_id = $2 LIMIT 1) IS TRUE"
        " OR (SELECT true FROM keyed_targets WHERE project_id = $2 LIMIT 1) IS TRUE AS limited,"
        " (SELECT true FROM budgets WHERE project_id = ANY (ARRAY[$2]) ORDER BY project_id, family_seq LIMIT 1) IS TRUE"
        " AS budgeted"
        f") SELECT state.*, run.* FROM state LEFT JOIN LATERAL ({claim}) AS run ON true"
    )


def _steps(form: _Form, first: int) -> str:
    """The distinct priorities of each queue partition, highest first. Each costs one index probe."""
    members = form.members
    arrays = [f"${first + place}::text[]" for place in range(len(members))]
    names = ", ".join((*members, "partition_most"))
    top = f"SELECT priority FROM runs WHERE {form.queue} AND {form.at} IS NOT NULL"  # noqa: S608 - generated from our own names
    if form.kind != "key" and not form.pinned:  # runs with a concurrency key have lower priorities
        top += f" AND priority >= {limits.priority_min}"
    last = "ORDER BY priority DESC LIMIT 1"
    return (
        f"{form.steps} ({names}, step) AS ("  # noqa: S608 - our own names
        f"SELECT {names}, ({top} {last})"
        f" FROM unnest({', '.join(arrays)}, ${first + len(members)}::bigint[]) AS partitions ({names})"
        f" UNION ALL SELECT {names}, ({top} AND priority < step {last}) FROM {form.steps} WHERE step IS NOT NULL)"
    )
