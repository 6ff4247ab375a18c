"""Sessions of PostgreSQL that the tests of a process use one after another.

PostgreSQL reads its catalogs and plans each statement once in a session, which takes ten times as long as a short test.
A session is kept where its store closes it, and given to the next store with the same URL, settings and event loop. It
keeps its prepared statements, and nothing else.
"""

import asyncio
from collections import defaultdict

import asyncpg

from runstead.engines.postgres import connection

#: Of all ways: a test that changes a limit leaves sessions that no other test asks for.
_KEPT_MAX = 100
_open_session = connection.open_session
_kept = defaultdict(list)  # by how they were opened
_loops = set()
#: Of databases whose sessions may stay open. Where a test looks at them, or ends them, it opens its own.
urls = set()


class Kept(asyncpg.Connection):
    """`close` keeps it, once for each time that it was given away."""

    way = None

    async def close(self, *, timeout=None):  # noqa: ASYNC109 - asyncpg's
        way, self.way = self.way, None
        full = sum(map(len, _kept.values())) >= _KEPT_MAX
        if way is None or full or self.is_closed() or self._listeners or self._termination_listeners:
            await super().close(timeout=timeout)
            return
        try:
            if self.is_in_transaction():
                await self.execute("ROLLBACK")
            await self.reset()
        except BaseException:
            self.terminate()
            raise
        _kept[way].append(self)


async def _open(url, settings, standby=None, **options):
    loop = asyncio.get_running_loop()
    if loop not in _loops or url not in urls:
        return await _open_session(url, settings, standby, **options)
    way = loop, url, *sorted(settings.items()), *sorted(options.items())
    session = None
    while session is None or session.is_closed():
        idle = _kept[way]
        session = idle.pop() if idle else await _open_session(url, settings, connection_class=Kept, **options)
    session.way = way
    return session


connection.open_session = _open


def keep(loop):
    """Keep the sessions of this event loop."""
    _loops.add(loop)


def forget(loop):
    """End its sessions, before it is closed."""
    _loops.discard(loop)
    for way in [way for way in _kept if way[0] is loop]:
        for session in _kept.pop(way):
            session.terminate()
