"""The SQL of a claim: the runs that come next for a worker, locked, and those that others have locked left out.

$1 now, $2 the project, $3 how many, $4 the seqs that are spoken for in this transaction, $5 how many more of each line
are looked at, for those that others hold; then the lines, an array for each of their members and one for how many may
be taken, kind by kind.
"""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import CLOCK, LOCKED, RUNS
from runstead.engines.sql.queue_partitions import PartitionKind, QueuePartition

_FREE: Final = (
    "available_at <= $1::bigint AND seq <> ALL ($4::bigint[])"
    # Of a batch that was called off, none. `OR` keeps it a filter: no join that would give up the index's order.
    " AND (batch_id IS NULL OR NOT EXISTS (SELECT 1 FROM batches AS b WHERE b.id = batch_id"
    " AND b.project_id = runs.project_id AND b.cancel_requested_at IS NOT NULL AND b.completed_at IS NULL))"
)
_ORDER: Final = "ORDER BY available_at, seq"
_LOCK: Final = "FOR UPDATE OF runs SKIP LOCKED"

#: What is equal in a line, by the names of its members.
_MEMBERS: Final[dict[PartitionKind, tuple[str, ...]]] = {
    "kind": ("line_kind",),
    "target": ("line_target", "line_kind"),
    "agent": ("line_implementation", "line_key"),
    "agent_target": ("line_implementation", "line_key", "line_target"),
}
_AGENT: Final = (
    "implementation_kind = line_implementation AND coalesce(worker_key, '') = line_key AND kind = 'agent'"
)
#: What lets a statement have the indexes of the wider lines; see the migration that makes them.
_WIDE: Final = "seq > 0"
_EQUAL: Final[dict[PartitionKind, str]] = {
    "kind": f"kind = line_kind AND {_WIDE}",
    "target": "coalesce(target, '') = line_target AND kind = line_kind",
    "agent": f"{_AGENT} AND {_WIDE}",
    "agent_target": f"{_AGENT} AND coalesce(target, '') = line_target",
}


def claim_sql(lines: Sequence[QueuePartition]) -> tuple[str, list[Any]]:
    """The statement and its arguments from $6 on. At least one line."""
    kinds, arguments = _parts(lines)
    return _sql(kinds, alone=len(lines) == 1), arguments


def first_claim_sql(lines: Sequence[QueuePartition]) -> tuple[str, list[Any]]:
    """The same as the first statement of a transaction, which tells what `load` tells as well: time and number, whether the
    project has webhooks and whether limits, in which case no run is taken. $1 is the time, NULL for the database's.
    """
    kinds, arguments = _parts(lines)
    return _first_sql(kinds, alone=len(lines) == 1), arguments


def _parts(lines: Sequence[QueuePartition]) -> tuple[tuple[PartitionKind, ...], list[Any]]:
    kinds: list[PartitionKind] = []
    arguments: list[Any] = []
    for kind, found in groupby(sorted(lines), lambda line: line.kind):
        kinds.append(kind)
        arguments += columns_of([(*line.equal, line.most) for line in found])
    return tuple(kinds), arguments


@cache
def _sql(kinds: tuple[PartitionKind, ...], *, alone: bool) -> str:
    steps, first = [], 6
    for kind in kinds:
        steps.append(_steps(kind, first))
        first += len(_MEMBERS[kind]) + 1
    beginning = f"WITH RECURSIVE {', '.join(steps)}"
    if alone:
        # Read and locked row by row, until there are enough: a step to a lower priority only where there are not.
        head = f"SELECT {LOCKED} FROM {RUNS} WHERE {_fits(kinds[0])} {_ORDER} LIMIT line_most + $5 {_LOCK}"  # noqa: S608 - generated from our own names
        return f"{beginning} SELECT run.* FROM steps_{kinds[0]} CROSS JOIN LATERAL ({head}) AS run LIMIT $3::bigint"  # noqa: S608 - generated from our own names
    # One short scan for each line and priority, unlocked; then only as many locks as are asked for. A row that somebody
    # else has taken meanwhile is looked at again, hence the condition's repetition.
    heads = " UNION ".join(
        f"SELECT head.* FROM steps_{kind} CROSS JOIN LATERAL"  # noqa: S608 - generated from our own names
        f" (SELECT seq, priority, available_at FROM runs WHERE {_fits(kind)} {_ORDER} LIMIT line_most + $5) AS head"
        for kind in kinds
    )
    order = "ORDER BY head.priority DESC, head.available_at, head.seq"
    return (
        f"{beginning} SELECT run.* FROM ("  # noqa: S608 - generated from our own names
        f"SELECT * FROM ({heads}) AS head {order} LIMIT $3::bigint + $5"
        ") AS head CROSS JOIN LATERAL ("
        f"SELECT {LOCKED} FROM {RUNS} WHERE seq = ANY (ARRAY[head.seq]) AND available_at <= $1::bigint ORDER BY seq {_LOCK}"
        f") AS run {order} LIMIT $3::bigint"
    )


@cache
def _first_sql(kinds: tuple[PartitionKind, ...], *, alone: bool) -> str:
    claim = _sql(kinds, alone=alone).replace("$1::bigint", "told.now").removesuffix("$3::bigint")
    # A limit of 0 and not a condition: where there are limits, no row is locked either.
    claim += "CASE WHEN told.limited THEN 0 ELSE $3::bigint END"
    return (
        "WITH told AS MATERIALIZED ("  # noqa: S608 - our own names
        f"SELECT coalesce($1::bigint, {CLOCK}) AS now, pg_current_xact_id()::text AS xid,"
        " (SELECT true FROM webhooks WHERE project_id = $2 AND disabled_at IS NULL LIMIT 1) IS TRUE AS hooked,"
        " (SELECT true FROM concurrency_limits WHERE project_id = $2 LIMIT 1) IS TRUE AS limited"
        f") SELECT told.*, run.* FROM told LEFT JOIN LATERAL ({claim}) AS run ON true"
    )


def _fits(kind: PartitionKind) -> str:
    return f"project_id = $2 AND {_EQUAL[kind]} AND priority = step AND {_FREE}"


def _steps(kind: PartitionKind, first: int) -> str:
    """The priorities that there are in each line, the highest first: each is one look into the index."""
    members = _MEMBERS[kind]
    arrays = [f"${first + place}::text[]" for place in range(len(members))]
    names = ", ".join((*members, "line_most"))
    top = f"SELECT priority FROM runs WHERE project_id = $2 AND {_EQUAL[kind]} AND available_at IS NOT NULL"  # noqa: S608 - generated from our own names
    last = "ORDER BY priority DESC LIMIT 1"
    return (
        f"steps_{kind} ({names}, step) AS ("  # noqa: S608 - our own names
        f"SELECT {names}, ({top} {last})"
        f" FROM unnest({', '.join(arrays)}, ${first + len(members)}::bigint[]) AS lines ({names})"
        f" UNION ALL SELECT {names}, ({top} AND priority < step {last}) FROM steps_{kind} WHERE step IS NOT NULL)"
    )
