"""Runs as tasks of a Dask cluster."""

import asyncio
import importlib
from typing import Any, ClassVar

from runstead.sdk.executors.callback import Callback
from runstead.sdk.executors.remote import serve_run


class _Submitted:
    def __init__(self, future: Any) -> None:
        self._future = future

    async def wait(self) -> object:
        return await self._future.result()

    async def cancel(self) -> None:
        await self._future.cancel(force=True)


class _Dask:
    def __init__(self, address: str, workers: int) -> None:
        self._distributed: Any = importlib.import_module("distributed")
        self._address = address
        self._workers = workers
        self._connecting = asyncio.Lock()
        self._local: Any = None
        self._client: Any = None

    async def submit(self, host: str, port: int, token: str) -> _Submitted:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connected()
        # No retries by Dask: Runstead retries a run that the cluster lost.
        future = self._client.submit(
            serve_run, host, port, token, pure=False, retries=0, key=f"runstead-{token[:8]}"
        )
        return _Submitted(future)

    async def _connected(self) -> Any:
        target = f"tcp://{self._address}"
        if self._address == "local":
            # One thread per worker, so that two runs do not share a process.
            target = self._local = await self._distributed.LocalCluster(
                n_workers=self._workers,
                threads_per_worker=1,
                processes=True,
                asynchronous=True,
                dashboard_address=None,
            )
        return await self._distributed.Client(target, asynchronous=True)

    def route(self) -> str:
        return "" if self._address == "local" else self._address.rpartition(":")[0].strip("[]")

    async def close(self) -> None:
        for one in (self._client, self._local):
            if one is not None:
                await one.close()


class DaskExecutor(Callback):
    """Runs handlers on a Dask cluster. `address` is the scheduler's `host:port`, or `local`.

    Raise ImportError without the extra `runstead[dask]`.
    """

    OPTIONS: ClassVar = frozenset({"callback", "workers"})

    def __init__(self, address: str, *, callback: str = "", workers: str = "2") -> None:
        if address != "local" and not address.rpartition(":")[2].isdecimal():
            raise ValueError(f"A Dask scheduler's address is like dask://scheduler:8786, not {address!r}")
        super().__init__(_Dask(address, int(workers)), callback)
