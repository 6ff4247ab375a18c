"""A server in memory, without a port or a thread, with the test's clock."""

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
    """A server with one project and a key that has every scope."""

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
        """Start the server, and return a client."""
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
            sleep=self._clock.handler_sleep,
        )

    async def close(self) -> None:
        self._app.stop()
        await self._store.close()
        await self._artifacts.close()

    async def tick(self) -> int:
        """Run each loop once, and return how many rows they changed."""
        return await schedule(self._app) + await enforce_deadlines(self._app) + await finish(self._app)

    def due_times(self, *, backoffs: bool) -> Iterator[int]:
        """Yield future times, in ms, at which a run is due, a run can be claimed, or a schedule fires.

        `backoffs`: only the times at which a run is retried.
        """
        if not backoffs:
            yield from (at for at in self._store.schedules.moments() if at > self._clock.ms)
        for run in self._store.runs.timed():
            is_retry = run.waiting_tool_name == "retry" or (run.available_at is not None and run.attempt > 0)
            for at in (run.due_at, run.available_at):
                if at is not None and at > self._clock.ms and (is_retry or not backoffs):
                    yield at
