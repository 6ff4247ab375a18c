"""Records that a project keeps: how they are stored, changed and deleted."""

from typing import ClassVar, Generic, TypeVar

from runstead.core.alerts.alert import Alert
from runstead.core.errors import existing
from runstead.core.idempotency import Idempotency
from runstead.core.schedules.trigger import Trigger
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql.methods import SqlNoun, command, read
from runstead.engines.sql.steps import LockSpace, Steps, changed, execute, first, lock, rewrite, value
from runstead.ports.store import Change, Count

R = TypeVar("R", Alert, Trigger, Webhook)


class SqlProjectRecords(SqlNoun, Generic[R]):
    """See `runstead.ports.store.ProjectRecords`. The statements of the noun `alert` are `alert`, `lock_alert`,
    `add_alert`, `delete_alert` and `count_alerts`, and its table is `alerts`.
    """

    _record: type[R]
    _noun: ClassVar[str]
    _lock_space: ClassVar[LockSpace]

    @command
    def create(self, now: int, record: R, guard: Count, idempotency: Idempotency = None) -> Steps[R]:
        yield from lock(self._lock_space, [record.project_id])
        guard((yield from value(f"count_{self._noun}s", project_id=record.project_id)))
        new = self._begun(record, now)
        yield from execute(f"add_{self._noun}", new)
        yield from changed(None, new)
        return new

    @read
    def get(self, project_id: str, record_id: str) -> Steps[R | None]:
        return first(self._noun, self._record, id=record_id, project_id=project_id)

    @command
    def change(
        self, now: int, project_id: str, record_id: str, decide: Change[R], idempotency: Idempotency = None
    ) -> Steps[R]:
        old = yield from self._lock(project_id, record_id)
        new = decide(old, now)
        yield from rewrite(f"{self._noun}s", old, new)
        yield from self._change_beside(old, new, now)
        yield from changed(old, new)
        return new

    @command
    def delete(self, _now: int, project_id: str, record_id: str) -> Steps[bool]:
        deleted = yield from first(f"delete_{self._noun}", self._record, id=record_id, project_id=project_id)
        if deleted is not None:
            yield from self._delete_beside(record_id)
        yield from changed(deleted, None)
        return deleted is not None

    def _lock(self, project_id: str, record_id: str) -> Steps[R]:
        found = yield from first(f"lock_{self._noun}", self._record, id=record_id, project_id=project_id)
        return existing(found, self._noun.capitalize())

    def _begun(self, record: R, _now: int) -> R:
        """The record as it is stored first."""
        return record

    def _change_beside(self, _old: R, _new: R, _now: int) -> Steps[None]:
        """Change what belongs to a record that changes."""
        yield from ()

    def _delete_beside(self, _record_id: str) -> Steps[None]:
        """Delete what belongs to a deleted record."""
        yield from ()
