"""The SQL of a list of runs: filters chosen by the caller, the page continued by key."""

from typing import Any, Final

from runstead.activity import GLIMPSE_FIELDS
from runstead.sqlite.sql import COLUMNS
from runstead.store import RunQuery

#: What a chart reads.
GLIMPSED: Final = ", ".join(GLIMPSE_FIELDS)


def page_sql(query: RunQuery, columns: str = COLUMNS) -> tuple[str, list[Any]]:
    """Newest (or longest) first. All values are bound; only our own names are put together."""
    where: list[str] = []
    arguments: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        arguments.extend(values)

    def among(column: str, values: tuple[str, ...]) -> None:
        if values:
            add(f"{column} IN ({', '.join('?' for _ in values)})", *values)

    among("project_id", query.project_ids or ("",))
    among("status", query.statuses)
    if query.statuses and "completed" not in query.statuses:
        add("status <> 'completed'")  # says what the index on the other states says, so that it serves
    among("kind", query.kinds)
    among("target", query.targets)
    if query.batch_id is not None:
        add("batch_id = ?", query.batch_id)
    if query.schedule_id is not None:
        add("schedule_id = ?", query.schedule_id)
    if query.parent_run_id is not None:
        add("parent_run_id = ?", query.parent_run_id)
    if query.root_only:
        add("parent_seq IS NULL")
    for key, value in query.labels:
        add("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)", key, value)
    if query.created_after is not None:
        add("created_at > ?", query.created_after)
    if query.created_before is not None:
        add("created_at < ?", query.created_before)
    if query.text is not None:
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"%{escaped}%"
        add(
            "(run_id LIKE ? ESCAPE '\\' OR title LIKE ? ESCAPE '\\' OR target LIKE ? ESCAPE '\\')",
            *[pattern] * 3,
        )
    if query.sort == "duration":
        add("duration_ms IS NOT NULL")
        order = "duration_ms DESC, seq DESC"
        if query.before is not None:
            add("(duration_ms, seq) < (?, ?)", *query.before)
    else:
        order = "seq DESC"
        if query.before is not None:
            add("seq < ?", query.before[1])
    arguments.append(query.limit)
    return f"SELECT {columns} FROM runs WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?", arguments  # noqa: S608
