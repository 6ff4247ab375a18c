"""The servers of a database."""

from typing import Final

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.replica import Replica
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import Steps, execute, select_timed, value

_SILENCE_MS: Final = limits.replica_silence_s * 1000


class SqlReplicas(SqlNoun):
    @command
    def note(self, now: int, replica: Replica) -> Steps[Replica]:
        yield from execute("forget_replicas", before=now - _SILENCE_MS)
        seen = replace(replica, started_at=now, seen_at=now)
        started_at = yield from value("note_replica", **fields(seen))
        return replace(seen, started_at=started_at)

    async def all(self) -> list[Replica]:
        rows = await self._database.read(select_timed, "replicas", Replica)
        return [replica for now, replica in rows if replica.seen_at > now - _SILENCE_MS]

    async def leave(self, replica_id: str) -> None:
        await self._database.write(lambda _now: execute("leave_replica", id=replica_id))
