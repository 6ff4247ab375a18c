"""What each statement that loads records must select: the columns of the record, named and in the order of its fields."""

from runstead.core.runs.run import FIELDS
from runstead.core.runs.transition import EndedAttempt, Receipt
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS
from runstead.engines.sql.run_rows import EVENT_COLUMNS
from runstead.ports.store import TypeCount

RECORDS = {
    "runs": FIELDS,
    "events": EVENT_COLUMNS,
    "attempts": EndedAttempt.__struct_fields__,
    "receipt": Receipt.__struct_fields__,
    "event_counts": TypeCount.__struct_fields__,
    "summaries": RUN_SUMMARY_FIELDS,
}


def misplaced(columns, record):
    """The columns that are not where the record has them, by name. Others may stand before and after the record's."""
    wanted = RECORDS[record]
    if wanted[0] not in columns:
        return set(wanted)
    start = columns.index(wanted[0])
    found = columns[start : start + len(wanted)]
    return {name for place, name in enumerate(wanted) if place >= len(found) or found[place] != name}


def swapped(sql, one, other):
    """The statement with the first mention of two columns exchanged."""
    assert one in sql
    assert other in sql
    return sql.replace(one, "\0", 1).replace(other, one, 1).replace("\0", other, 1)
