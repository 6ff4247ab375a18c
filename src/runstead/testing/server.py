"""A server in memory: no port, no thread, and time from a clock that is moved."""

from collections.abc import Iterator

import httpx2

from runstead.commands.app import App
from runstead.commands.keys import make_key, new_project
from runstead.core.identity.principal import ALL_SCOPES
from runstead.core.identity.project import new_key
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.engines.memory import MemoryNotifier, MemoryStore
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.app import HttpApp
from runstead.loops.batch_finalizer import finish
from runstead.loops.deadlines import enforce_deadlines
from runstead.loops.scheduler import schedule
from runstead.sdk import AsyncClient
from runstead.security.signing import Keyring
from runstead.testing.clock import Clock

PROJECT = "test"


class Server:
    """One project, and a key for all of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._store = MemoryStore(clock)
        keyring = Keyring(self._store.signing_keys, clock=clock)
        self._artifacts = FilesystemArtifacts(None)
        self._app = App(self._store, MemoryNotifier(), keyring, artifacts=self._artifacts)
        http_app = HttpApp(self._app, Authenticator(self._store, None, clock, keyring))
        self._transport = httpx2.ASGITransport(http_app, raise_app_exceptions=False)
        self._key = new_key()

    async def open(self) -> AsyncClient:
        """A client of it."""
        await self._store.open()
        await self._artifacts.open()
        project = new_project(PROJECT, None)
        key = make_key(self._key, project.id, ALL_SCOPES, name="test")
        await self._store.identity.ensure_project(project, None, key)
        return AsyncClient(
            "http://runstead.test",
            self._key,
            project=PROJECT,
            transport=self._transport,
            retries=0,
            sleep=self._clock.nap,
        )

    async def close(self) -> None:
        self._app.stop()
        await self._store.close()
        await self._artifacts.close()

    async def tick(self) -> int:
        """What the loops do; how much there was to do."""
        return await schedule(self._app) + await enforce_deadlines(self._app) + await finish(self._app)

    def moments(self, *, backoffs: bool) -> Iterator[int]:
        """When runs fall due or can be claimed and schedules fire, in ms, as far as it lies ahead; or only when another try
        is made.
        """
        if not backoffs:
            yield from (at for at in self._store.schedules.moments() if at > self._clock.ms)
        for run in self._store.runs.timed():
            tried_again = run.waiting_tool_name == "retry" or (
                run.available_at is not None and run.attempt > 0
            )
            for at in (run.due_at, run.available_at):
                if at is not None and at > self._clock.ms and (tried_again or not backoffs):
                    yield at
