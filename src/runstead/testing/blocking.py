"""A testbed for plain functions."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Never, ParamSpec, Self, overload

from runstead.sdk import App, Client, Task
from runstead.sdk.models.event import Event, Published
from runstead.sdk.models.run import Run, Signalled
from runstead.sdk.routes.create import RunBudget
from runstead.testing.server import PROJECT, URL
from runstead.testing.testbed import Testbed
from runstead.testing.transport import BlockingTransport

P = ParamSpec("P")


class BlockingTestbed:
    """A `Testbed` with methods that block: `with BlockingTestbed(app) as bed: run = bed.run("task:sync-data")`."""

    __test__ = False

    def __init__(self, app: App, **options: Any) -> None:
        """`options` are those of `Testbed`."""
        self._app, self._options = app, options
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self.bed = self._runner.run(self._open())
        server = self.bed.server
        transport = BlockingTransport(server.transport, self._runner.get_loop(), self._runner.run)
        self._client = Client(
            URL, server.key, project=PROJECT, transport=transport, retries=0, codec=self._app.codec
        )
        return self

    async def _open(self) -> Testbed:
        return await Testbed(self._app, **self._options).__aenter__()

    def __exit__(self, *_: object) -> None:
        try:
            self._client.close()
            self._runner.run(self.bed.__aexit__())
        finally:
            self._runner.close()

    @property
    def client(self) -> Client:
        """A client of the server that blocks, with every scope in its project. After changes call `settle`."""
        return self._client

    @property
    def now(self) -> datetime:
        """The time of the clock."""
        return self.bed.now

    @overload
    def run(
        self,
        target: Task[P, Any],
        /,
        _by_name: Never = ...,
        id: str | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        available_at: datetime | None = None,
        budget: RunBudget | None = None,
        project: str | None = None,
        concurrency_key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        debounce: Mapping[str, Any] | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Run: ...
    @overload
    def run(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        **options: Any,
    ) -> Run: ...
    def run(self, target: Any, /, *args: Any, **options: Any) -> Run:
        """As `Testbed.run`."""
        return self._runner.run(self.bed.run(target, *args, **options))

    def get(self, run: Run | str) -> Run:
        """As `Testbed.get`."""
        return self._runner.run(self.bed.get(run))

    def result(self, run: Run | str) -> Run:
        """As `Testbed.result`."""
        return self._runner.run(self.bed.result(run))

    def approve(self, run: Run | str, approved: Any = True) -> None:
        """As `Testbed.approve`."""
        self._runner.run(self.bed.approve(run, approved))

    def respond(self, run: Run | str, values: Mapping[str, Any]) -> None:
        """As `Testbed.respond`."""
        self._runner.run(self.bed.respond(run, values))

    def publish(
        self,
        name: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the member's name on the wire
        occurred_at: datetime | None = None,
    ) -> Published:
        """As `Testbed.publish`."""
        return self._runner.run(self.bed.publish(name, data, id=id, occurred_at=occurred_at))

    def signal(self, run: Run | str, name: str, payload: Any = None) -> Signalled:
        """As `Testbed.signal`."""
        return self._runner.run(self.bed.signal(run, name, payload))

    def retry(self, run: Run | str, from_step: str | None = None, **options: Any) -> Run:
        """As `Testbed.retry`."""
        return self._runner.run(self.bed.retry(run, from_step, **options))

    def cancel(self, run: Run | str) -> Run:
        """As `Testbed.cancel`."""
        return self._runner.run(self.bed.cancel(run))

    def events(self, run: Run | str) -> list[Event]:
        """As `Testbed.events`."""
        return self._runner.run(self.bed.events(run))

    def advance(
        self, seconds: float | timedelta = 0, *, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """As `Testbed.advance`."""
        self._runner.run(self.bed.advance(seconds, minutes=minutes, hours=hours, days=days))

    def deploy(self, app: App) -> None:
        """As `Testbed.deploy`."""
        self._runner.run(self.bed.deploy(app))

    def settle(self) -> None:
        """As `Testbed.settle`."""
        self._runner.run(self.bed.settle())
