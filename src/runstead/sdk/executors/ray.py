"""Runs as tasks of a Ray cluster."""

import asyncio
import contextlib
import importlib
import os
from typing import Any, ClassVar

from runstead.sdk.executors.callback import Callback
from runstead.sdk.executors.remote import serve_run


class _Submitted:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray = ray
        self._reference = reference

    async def wait(self) -> object:
        return await asyncio.wrap_future(self._reference.future())

    async def cancel(self) -> None:
        await asyncio.to_thread(self._ray.cancel, self._reference, force=True)


class _Ray:
    def __init__(self, address: str, workers: int, resources: dict[str, float]) -> None:
        self._ray: Any = importlib.import_module("ray")
        self._address = address
        self._workers = workers
        self._resources = resources
        self._connecting = asyncio.Lock()
        self._task: Any = None

    async def submit(self, host: str, port: int, token: str) -> _Submitted:
        async with self._connecting:
            if self._task is None:
                await asyncio.to_thread(self._connect)
        return _Submitted(self._ray, await asyncio.to_thread(self._task.remote, host, port, token))

    def _connect(self) -> None:
        quiet = {"log_to_driver": False, "logging_level": "warning"}
        if self._address == "local":
            os.environ.setdefault(
                "RAY_USAGE_STATS_ENABLED", "0"
            )  # a local cluster sends no statistics to Ray's authors
            self._ray.init(address="local", num_cpus=self._workers, include_dashboard=False, **quiet)
        elif self._address == "auto":
            self._ray.init(address="auto", **quiet)
        else:
            self._ray.init(f"ray://{self._address}", **quiet)
        # No retries by Ray: Runstead retries a run that the cluster lost.
        self._task = self._ray.remote(max_retries=0, **self._resources)(serve_run)

    def route(self) -> str:
        if self._address == "local":
            return ""
        if self._address == "auto":
            return str(self._ray.util.get_node_ip_address())
        return self._address.rpartition(":")[0].strip("[]")

    async def close(self) -> None:
        if self._task is not None:
            with contextlib.suppress(Exception):  # the cluster may have ended
                await asyncio.to_thread(self._ray.shutdown)


class RayExecutor(Callback):
    """Runs handlers on a Ray cluster.

    `address` is `host:port` of a Ray client server, `auto` for the cluster that this machine belongs to, or `local`.
    Raise ImportError without the extra `runstead[ray]`.
    """

    OPTIONS: ClassVar = frozenset({"callback", "workers", "num_cpus", "num_gpus", "memory"})

    def __init__(self, address: str, *, callback: str = "", workers: str = "2", **resources: str) -> None:
        if address not in ("local", "auto") and not address.rpartition(":")[2].isdecimal():
            raise ValueError(f"A Ray cluster's address is like ray://head:10001, not {address!r}")
        numbers = {"num_cpus": 1.0} | {name: float(value) for name, value in resources.items()}
        super().__init__(_Ray(address, int(workers), numbers), callback)
