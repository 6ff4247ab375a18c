"""A server in the test's process: no port, and the test's clock."""

from collections.abc import Awaitable, Callable, Iterator

from runstead.commands.app import App
from runstead.commands.budgets import settle_some
from runstead.commands.keys import make_key, new_project
from runstead.core.identity.principal import INSTANCE_SCOPES
from runstead.core.identity.project import new_key
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.engines.notifiers.local import LocalNotifier
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.app import HttpApp
from runstead.loops.bulk_jobs import advance_bulk_jobs
from runstead.loops.deadlines import enforce_deadlines
from runstead.loops.finalizer import finish_batches
from runstead.loops.scheduler import schedule
from runstead.sdk import AsyncClient
from runstead.sdk.models.value import Codec
from runstead.security.signing import Keyring
from runstead.security.stored_secrets import StoredSecrets, new_key as new_encryption_key
from runstead.testing.clock import Clock
from runstead.testing.store import TemporaryStore
from runstead.testing.transport import InProcessTransport

URL = "http://runstead.test"
PROJECT = "test"


class Server:
    """A server with one project and a key that has every scope."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._store = TemporaryStore(clock)
        self._artifacts = FilesystemArtifacts(None)

    async def open(
        self, settle: Callable[[], Awaitable[None]], real_timeout_s: float, codec: Codec | None = None
    ) -> AsyncClient:
        """Start the server, and return a client. Streams call `settle`, and end within `real_timeout_s`."""
        await self._store.open()
        await self._artifacts.open()
        encryption_key = new_encryption_key().encode()
        secrets = StoredSecrets(lambda: [encryption_key])
        keyring = Keyring(self._store.signing_keys, clock=self._clock, secrets=secrets)
        self._app = App(self._store, LocalNotifier(), keyring, artifacts=self._artifacts, secrets=secrets)
        http_app = HttpApp(self._app, Authenticator(self._store, None, self._clock, keyring))
        project, key = new_project(PROJECT, None), new_key()
        await self._store.identity.ensure_project(
            project, None, make_key(key, project.id, INSTANCE_SCOPES, name="test")
        )
        self.key = key
        self.transport = InProcessTransport(http_app, settle, real_timeout_s)
        return AsyncClient(
            URL,
            key,
            project=PROJECT,
            transport=self.transport,
            retries=0,
            codec=codec,
            sleep=self._clock.handler_sleep,
        )

    async def close(self) -> None:
        self._app.stop()
        await self._store.close()
        await self._artifacts.close()

    async def tick(self) -> int:
        """Run each loop once, and return how many rows they changed."""
        loops = (schedule, enforce_deadlines, finish_batches, advance_bulk_jobs, settle_some)
        return sum([await tick(self._app) for tick in loops])

    def due_times(self, *, retries: bool) -> Iterator[int]:
        """Yield future times, in ms, at which a run is due, a run can be claimed, or a schedule fires.

        `retries`: only the times at which a run is retried.
        """
        return self._store.times_after(self._clock.ms, retries=retries)

    @property
    def busy(self) -> bool:
        """Whether the store has calls that it has not answered."""
        return self._store.busy
