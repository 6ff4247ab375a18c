"""The SQL of a list of runs: filters chosen by the caller, the page continued by key."""

from typing import Any

import msgspec

from runstead.postgres.sql import COLUMNS, RUNS
from runstead.store import RunQuery

_encode = msgspec.json.Encoder().encode


def page_sql(query: RunQuery) -> tuple[str, list[Any]]:
    """Newest (or longest) first. All values are bound; only our own names are put together."""
    where: list[str] = []
    arguments: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        """`{}` in the condition stands for each value in turn."""
        arguments.extend(values)
        first = len(arguments) - len(values) + 1
        where.append(condition.format(*(f"${first + n}" for n in range(len(values)))))

    def among(column: str, values: tuple[str, ...]) -> None:
        if len(values) == 1:  # so that the index also gives the order
            add(f"{column} = {{}}", values[0])
        elif values:
            add(f"{column} = ANY ({{}}::text[])", list(values))

    among("project_id", query.project_ids or ("",))
    among("status", query.statuses)
    if query.statuses and "completed" not in query.statuses:
        add("status <> 'completed'")  # says what the index on the other states says, so that it serves
    among("kind", query.kinds)
    among("target", query.targets)
    if query.batch_id is not None:
        add("batch_id = {}", query.batch_id)
    if query.schedule_id is not None:
        add("schedule_id = {}", query.schedule_id)
    if query.parent_run_id is not None:
        add("parent_run_id = {}", query.parent_run_id)
    if query.root_only:
        add("parent_seq IS NULL")
    if query.labels:
        add("convert_from(labels, 'UTF8')::jsonb @> {}::jsonb", _encode(dict(query.labels)).decode())
        if len(dict(query.labels)) < len(set(query.labels)):
            add("false")  # one label with two values at once: no run has that
    if query.created_after is not None:
        add("created_at > {}::bigint", query.created_after)
    if query.created_before is not None:
        add("created_at < {}::bigint", query.created_before)
    if query.text is not None:
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        add("(run_id ILIKE {0} OR title ILIKE {0} OR target ILIKE {0})", f"%{escaped}%")
    if query.sort == "duration":
        add("duration_ms IS NOT NULL")
        order = "duration_ms DESC, seq DESC"
        if query.before is not None:
            add("(duration_ms, seq) < ({}::bigint, {}::bigint)", *query.before)
    else:
        order = "seq DESC"
        if query.before is not None:
            add("seq < {}::bigint", query.before[1])
    arguments.append(query.limit)
    sql = f"SELECT {COLUMNS} FROM {RUNS} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ${len(arguments)}"  # noqa: S608
    return sql, arguments
