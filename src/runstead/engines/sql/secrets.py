"""The secrets in the tables of other nouns."""

from collections.abc import Sequence

from runstead.core.secret import StoredSecret
from runstead.engines.sql.methods import SqlNoun
from runstead.engines.sql.steps import execute_many, select
from runstead.ports.store.secrets import Replacement


class SqlSecrets(SqlNoun):
    async def page(self, place: str, after: str, limit: int) -> list[StoredSecret]:
        return await self._database.read(
            select, f"page_of_{_name(place)}", StoredSecret, after=after, limit=limit
        )

    async def replace(self, place: str, replacements: Sequence[Replacement]) -> None:
        rows = [each._asdict() for each in replacements]
        await self._database.write(lambda _now: execute_many(f"replace_{_name(place)}", rows))


def _name(place: str) -> str:
    return place.replace(".", "_")
