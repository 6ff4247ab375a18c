"""The lead among the servers of one database, in one row."""

from collections.abc import Callable

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.leadership import Lead, elect, resign, unexpired
from runstead.engines.sql.steps import Session, Steps, execute, select_timed


class SqlLeadership:
    """The row is read, and then written on condition that it has not changed, each in one statement. A replica that
    stops in between holds no lock that would keep the others from electing a leader.
    """

    def __init__(self, database: Session) -> None:
        """The clock of `database` may run backwards, unlike that of others: a lead must also expire where the
        database's clock was set back.
        """
        self._database = database

    async def lead(self, owner: str, lease_ms: int) -> Lead:
        return await self._database.write(
            lambda _now: _change(lambda held, now: elect(held, owner, lease_ms, now))
        )

    async def held(self) -> Lead:
        held, now = await self._database.read(_stored)
        return unexpired(held, now)

    async def resign(self, owner: str) -> None:
        await self._database.write(lambda _now: _change(lambda held, _time: resign(held, owner)))


def _stored() -> Steps[tuple[Lead, int]]:
    """The lead, and the time in ms."""
    ((now, lead),) = yield from select_timed("lead", Lead)
    return lead, now


def _change(decide: Callable[[Lead, int], Lead]) -> Steps[Lead]:
    for _ in range(limits.race_retries_max):
        held, now = yield from _stored()
        new = decide(held, now)
        if new == held:
            return new
        old = {"old_term": held.term, "old_owner": held.owner, "old_expires_at": held.expires_at}
        if (yield from execute("put_lead", new, **old)):
            return new
    raise Error("STORE_UNAVAILABLE", "Other replicas changed the lead again and again", retry_after_s=1)
