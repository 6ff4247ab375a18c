"""Refuse new work while the server is overloaded, so that what it accepted is served in time.

New work (`Operation.new_work`) is refused first, then lists. Claims, heartbeats, events and completions of runs that were
accepted are not, because refusing them would waste what was done for them; nor are reads of one run, and streams.

The wait of a tenant is known after authentication. A refusal is remembered for a moment, so that the protocol refuses
the next requests of the credential at their headers (`early`): most of a refusal's cost is what comes after them.
"""

import asyncio
import random
import time
from collections.abc import Sized
from math import inf

from runstead.core import limits
from runstead.core.admission import Bursts, LoopLag
from runstead.core.errors import Error
from runstead.ports.store import Store

Headers = dict[bytes, bytes]


class Admission:
    def __init__(self, store: Store) -> None:
        self.lag = LoopLag()
        self._store = store
        self._bursts = Bursts()
        self._refused_until: dict[tuple[bytes | None, ...], float] = {}

    async def watch(self, connections: Sized) -> None:
        """Measure the lag of the event loop, until cancelled. Few callers wait for each other, so they are no overload."""
        loop = asyncio.get_running_loop()
        while True:
            if len(connections) <= limits.admission_connections_min:
                self.lag.measured(0.0, 0.0)
                await asyncio.sleep(limits.admission_idle_s)
                continue
            before, used_before = loop.time(), time.thread_time()
            await asyncio.sleep(limits.admission_probe_s)
            took_s, used_s = loop.time() - before, time.thread_time() - used_before
            self.lag.measured(took_s - limits.admission_probe_s, used_s / took_s)

    def early(self, headers: Headers, lag_s_max: float, now: float, *, new_work: bool) -> Error | None:
        """Return the refusal of a request with these headers, if any. `now` is the event loop's time."""
        if self.lag.seconds > lag_s_max:
            return _busy("The server is overloaded: it takes no more requests of this kind for now")
        if new_work and self._refused_until and self._refused_until.get(_credential(headers), 0.0) > now:
            return _busy("Too many writes are waiting")
        return None

    def check(self, headers: Headers, now: float) -> None:
        """Refuse new work of the current tenant that would wait too long for its commit. Raises STORE_BUSY."""
        wait_s = self._store.expected_wait_s()
        if wait_s <= limits.admission_wait_s_max or self._bursts.admits(_credential(headers), wait_s, now):
            return
        if len(self._refused_until) >= limits.admission_credentials_max:
            self._refused_until.clear()
        self._refused_until[_credential(headers)] = now + limits.admission_memory_s
        raise _busy("Too many writes are waiting")


def _credential(headers: Headers) -> tuple[bytes | None, ...]:
    return headers.get(b"authorization"), headers.get(b"x-api-key")


def lag_s_max(method: str, path: str, *, new_work: bool, is_open: bool) -> float:
    """Return the lag of the event loop above which requests of a route are refused.

    Lists are the collections of a project or a server. Those of one run are what workers and followers read.
    """
    if new_work:
        return limits.admission_lag_s_max
    of_one_run = "/runs/{run_id}" in path
    is_list = method == "GET" and not is_open and not of_one_run and not path.endswith("}")
    return limits.admission_lists_lag_s_max if is_list else inf


def _busy(message: str) -> Error:
    # Clients that add no jitter of their own are spread over a few seconds.
    retry_after_s = 1 + int(random.random() * limits.admission_retry_s_max)  # noqa: S311 - no secret
    return Error("STORE_BUSY", message, retry_after_s=retry_after_s)
