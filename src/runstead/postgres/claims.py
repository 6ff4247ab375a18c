"""The SQL of a claim: the oldest runs that a worker takes, locked, and those that others have locked left out.

$1 now, $2 the project, $3 how many, $4 the seqs that are spoken for in this transaction; then what the worker takes.
"""

from functools import cache
from typing import Any, Final

from runstead import limits
from runstead.postgres.sql import LOCKED, RUNS
from runstead.store import ClaimQuery

_FREE: Final = (
    "project_id = $2 AND available_at <= $1::bigint AND seq <> ALL ($4::bigint[])"
    # Of a batch that was called off, none. `OR` keeps it a filter: no join that would give up the index's order.
    " AND (batch_id IS NULL OR NOT EXISTS (SELECT 1 FROM batches AS b WHERE b.id = batch_id"
    " AND b.project_id = runs.project_id AND b.cancel_requested_at IS NOT NULL AND b.completed_at IS NULL))"
)
_ORDER: Final = "ORDER BY available_at, seq"
_LOCK: Final = "FOR UPDATE OF runs SKIP LOCKED"


def claim_sql(query: ClaimQuery) -> tuple[str, list[Any]] | None:
    """The statement and its arguments from $5 on; None where the worker takes nothing at all."""
    things: list[str] = []
    arguments: list[Any] = []
    for kind in query.kinds:
        if kind == "agent":
            if query.implementation_kind is None:
                continue
            targets = list(query.targets) or None
            things.append("agent of nobody")
            arguments += [query.implementation_kind, targets]
            if query.worker_key is not None:
                things.append("agent of one")
                arguments += [query.implementation_kind, targets, query.worker_key]
        elif query.targets:
            for target in query.targets:
                things.append("target")
                arguments += [kind, target]
        else:
            things.append("kind")
            arguments.append(kind)
    return (_sql(tuple(things)), arguments) if things else None


_CONDITIONS: Final = {
    "kind": "kind = ${0}",
    "target": "kind = ${0} AND target = ${1}",
    "agent of nobody": "kind = 'agent' AND implementation_kind = ${0} AND worker_key IS NULL"
    " AND (${1}::text[] IS NULL OR target = ANY (${1}::text[]))",
    "agent of one": "kind = 'agent' AND implementation_kind = ${0} AND worker_key = ${2}"
    " AND (${1}::text[] IS NULL OR target = ANY (${1}::text[]))",
}
_ARGUMENTS: Final = {"kind": 1, "target": 2, "agent of nobody": 2, "agent of one": 3}


@cache
def _sql(things: tuple[str, ...]) -> str:
    wheres = []
    first = 5
    for thing in things:
        count = _ARGUMENTS[thing]
        wheres.append(f"{_FREE} AND {_CONDITIONS[thing].format(*range(first, first + count))}")
        first += count
    if len(wheres) == 1:
        return f"SELECT {LOCKED} FROM {RUNS} WHERE {wheres[0]} {_ORDER} LIMIT $3::bigint {_LOCK}"  # noqa: S608
    # One short scan for each thing, unlocked, with some to spare for those that others hold; then only as many locks as
    # are asked for. A row that somebody else has taken meanwhile is looked at again, hence the condition's repetition.
    spare = f"$3::bigint + {limits.batch_commands_max}"
    heads = " UNION ".join(
        f"(SELECT seq, available_at FROM runs WHERE {where} {_ORDER} LIMIT {spare})"  # noqa: S608
        for where in wheres
    )
    candidates = f"ARRAY(SELECT seq FROM ({heads}) AS heads {_ORDER} LIMIT {spare})"  # noqa: S608
    return (
        f"SELECT {LOCKED} FROM {RUNS} WHERE seq = ANY ({candidates}) AND available_at <= $1::bigint"  # noqa: S608
        f" {_ORDER} LIMIT $3::bigint {_LOCK}"
    )
