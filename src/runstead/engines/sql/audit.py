"""The audit log, and the database of commands that write to it.

A command of a noun yields `Changed` for each record that it changes. A `RecordingDatabase` stores the audit entries of
these steps in the command's transaction; without one they have no effect.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec.structs import asdict

from runstead.core import limits
from runstead.core.audit import Audit, AuditEntry, entries
from runstead.core.idempotency import Idempotency
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, paged
from runstead.engines.sql.steps import Changed, Database, Steps, execute, execute_many, select
from runstead.ports.store.audit import AuditQuery

T = TypeVar("T")


class SqlAudit(SqlNoun):
    async def add(self, audit: Audit) -> None:
        await self._database.write(lambda now: add_entries(entries(audit, None, None, now)))

    @paged
    def page(self, query: AuditQuery) -> Steps[list[AuditEntry]]:
        # One index for each filter; the others are checked on the rows that it finds.
        statement = "audit_page"
        if query.object_id is not None:
            statement = "audit_page_of_object"
        elif query.actor is not None:
            statement = "audit_page_of_actor"
        elif query.action is not None:
            statement = "audit_page_of_action"
        last = (limits.integer_max, 0) if query.created_before is None else (query.created_before, 0)
        at, seq = last if query.before is None else min(last, query.before)
        after = -1 if query.created_after is None else query.created_after
        filters = asdict(query) | {"after": after, "before_at": at, "before_seq": seq}
        return select(statement, AuditEntry, **filters)

    @command
    def expire(self, now: int, age_ms: int, limit: int) -> Steps[int]:
        before = now - age_ms
        yield from execute("allow_audit_expiry", before=before)
        expired = yield from execute("expire_audit_entries", before=before, limit=limit)
        yield from execute("refuse_audit_expiry")
        return expired


class RecordingDatabase:
    """A database whose commands store an audit entry for each `Changed` step."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._write = database.write
        self._audit = audit
        self.read, self.scan, self.page = database.read, database.scan, database.page
        self.snapshot, self.settle = database.snapshot, database.settle

    async def write(
        self, command: Callable[[int], Steps[T]], idempotency: Idempotency = None, *, quick: bool = False
    ) -> T:
        return await self._write(
            lambda now: _recorded(command(now), self._audit, now), idempotency, quick=quick
        )


def _recorded(steps: Steps[T], audit: Audit, now: int) -> Steps[T]:
    """The same steps, with the audit entries of what they change."""
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        if isinstance(step, Changed):
            yield from add_entries(entries(audit, step.before, step.after, now))
            answer = None
        else:
            answer = yield step


def add_entries(new: Iterable[AuditEntry]) -> Steps[None]:
    yield from execute_many("add_audit_entry", map(fields, new))
