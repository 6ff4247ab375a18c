"""Which runs a list shows, and in which order."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import Run, large_bytes
from runstead.engines.sql.run_terms import json_form
from runstead.ports.store import ListPage, RunQuery, SeqPage

Place = tuple[int, int]


def matches(run: Run, query: RunQuery) -> bool:
    """Whether a run stands on this page or a later one."""
    return (
        run.project_id in query.project_ids
        and (not query.statuses or run.status in query.statuses)
        and (not query.kinds or run.kind in query.kinds)
        and (not query.targets or run.target in query.targets)
        and query.batch_id in (None, run.batch_id)
        and query.schedule_id in (None, run.schedule_id)
        and query.parent_run_id in (None, run.parent_run_id)
        and not (query.root_only and run.parent_seq is not None)
        and (query.created_after is None or run.created_at > query.created_after)
        and (query.created_before is None or run.created_at < query.created_before)
        and (query.seq_over is None or run.seq > query.seq_over)
        and (query.seq_under is None or run.seq < query.seq_under)
        and _labelled(run, query.labels)
        and (query.text is None or _mentions(run, query.text))
        and (query.sort == "created_at" or run.duration_ms is not None)
        and (query.before is None or sort_key(run, query) < _place(*query.before))
    )


def page_of(runs: Iterable[Run], asked: RunQuery | SeqPage) -> ListPage[Run]:
    """The first of these runs that fit, without the fields to omit."""
    page: list[Run] = []
    size = 0
    for run in runs:
        shown = replace(run, **dict.fromkeys(asked.omit))
        size += large_bytes(shown)
        if len(page) == asked.limit or (page and asked.bytes_max is not None and size > asked.bytes_max):
            return ListPage(page, more=True)
        page.append(shown)
    return ListPage(page, more=False)


def sort_key(run: Run, query: RunQuery) -> Place:
    """Greater comes first."""
    return _place(None if query.sort == "created_at" else run.duration_ms, run.seq)


def _place(value: int | None, seq: int) -> Place:
    return (-1 if value is None else value, seq)


def _labelled(run: Run, wanted: tuple[tuple[str, str], ...]) -> bool:
    if not wanted:
        return True
    labels: dict[str, str] = msgspec.json.decode(run.labels) if run.labels is not None else {}
    return all(labels.get(key) == value for key, value in wanted)


def _mentions(run: Run, text: str) -> bool:
    needle, in_json = text.lower(), json_form(text).lower()
    error = (run.error or b"").decode()[: limits.search_error_chars_max]
    return any(needle in (value or "").lower() for value in (run.run_id, run.title, run.target)) or any(
        in_json in value.lower() for value in ((run.labels or b"").decode(), error)
    )
