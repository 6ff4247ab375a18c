"""Compensations in the transactions of runs, in PostgreSQL."""

from collections import defaultdict
from collections.abc import Sequence

from runstead.core.runs.compensation import Compensation, RegisteredCompensations
from runstead.core.runs.write_set import WriteSet, compensate
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q


async def registered_compensations(
    connection: Connection, run_seq: int, key: str | None, added: Sequence[Compensation]
) -> RegisteredCompensations:
    """`added`: those of the run that this transaction adds."""
    size = await connection.fetchval(Q["registered_bytes"], run_seq) + sum(each.bytes for each in added)
    if key is None:
        return RegisteredCompensations(size)
    same = next((each for each in added if each.key == key), None)
    if same is None:
        row = await connection.fetchrow(Q["compensation_by_key"], run_seq, key)
        same = None if row is None else Compensation(*row)
    return RegisteredCompensations(size, same)


async def created_by(
    connection: Connection, ended: Sequence[WriteSet], added: Sequence[tuple[int, Compensation]]
) -> list[tuple[int, Compensation, WriteSet]]:
    """Return the compensations of runs that failed or were cancelled: (seq of the parent, record, write set).

    `added`: (seq of the run, compensation) that this transaction adds.
    """
    registered: dict[int, list[Compensation]] = defaultdict(list)
    for seq, *columns in await connection.fetch(Q["compensations_of_runs"], [each.run.seq for each in ended]):
        registered[seq].append(Compensation(*columns))
    for seq, compensation in added:
        registered[seq].append(compensation)
    count = sum(len(registered[each.run.seq]) for each in ended)
    seqs = sorted(row[0] for row in await connection.fetch(Q["fresh_seqs"], count))
    created = []
    for each in ended:
        mine = registered[each.run.seq]
        taken, seqs = seqs[: len(mine)], seqs[len(mine) :]
        created += [(each.run.seq, *pair) for pair in compensate(each, mine, taken)]
    return created
