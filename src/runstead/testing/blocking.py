"""A testbed for plain functions."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Concatenate, Never, ParamSpec, Self, TypeVar, overload

from runstead.sdk import App, Client, Task
from runstead.sdk.models.run import Run
from runstead.sdk.routes.create import RunBudget
from runstead.testing.server import PROJECT, URL
from runstead.testing.testbed import Testbed
from runstead.testing.transport import BlockingTransport

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[Testbed, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingTestbed, P], T]":
    """Return a method with the types of `method` that blocks until its coroutine has ended."""

    @functools.wraps(method)
    def call(self: "BlockingTestbed", *args: P.args, **kwargs: P.kwargs) -> T:
        return self._runner.run(method(self.bed, *args, **kwargs))

    return call  # type: ignore[return-value]  # mypy names the first argument


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

    get = _blocking(Testbed.get)
    result = _blocking(Testbed.result)
    approve = _blocking(Testbed.approve)
    respond = _blocking(Testbed.respond)
    retry = _blocking(Testbed.retry)
    publish = _blocking(Testbed.publish)
    signal = _blocking(Testbed.signal)
    cancel = _blocking(Testbed.cancel)
    events = _blocking(Testbed.events)
    advance = _blocking(Testbed.advance)
    deploy = _blocking(Testbed.deploy)
    settle = _blocking(Testbed.settle)
