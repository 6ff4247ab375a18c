"""A server within the test's process, and workers at it: the application itself over SQLite."""

import asyncio

import httpx2

from runstead.commands.app import App as Commands
from runstead.commands.keys import make_key, new_project
from runstead.core.identity.principal import INSTANCE_SCOPES
from runstead.engines.notifiers.local import LocalNotifier
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.app import HttpApp
from runstead.loops.deadlines import enforce_deadlines
from runstead.sdk import AsyncClient
from runstead.testing.store import TemporaryStore


class InProcessServer:
    """A server in this process, with its loop of deadlines, which resumes the parent of an ended run.

    `client` calls it. `start_worker(app)` serves an app until `stop_workers()`.
    """

    async def open(self, **options):
        self.store = TemporaryStore()
        await self.store.open()
        self.commands = Commands(self.store, LocalNotifier(), **options)
        project = new_project("shop", "Shop")
        key = "vf_test_" + "k" * 40
        await self.store.identity.ensure_project(
            project, None, make_key(key, project.id, INSTANCE_SCOPES, name="k")
        )
        http = HttpApp(self.commands, Authenticator(self.store, None))
        self.client_transport = httpx2.ASGITransport(http)
        self.client = AsyncClient("http://served", key, project="shop", transport=self.client_transport)
        self._workers = []
        self._deadlines = asyncio.ensure_future(self._enforce_deadlines())
        return self

    async def _enforce_deadlines(self):
        while True:
            await asyncio.sleep(0.05)
            await enforce_deadlines(self.commands)

    async def close(self):
        self.commands.stop()  # waiting claims are answered
        await self.stop_workers()
        self._deadlines.cancel()
        await asyncio.wait([self._deadlines])
        await self.client.aclose()
        await self.store.close()

    def start_worker(self, app, **options):
        worker = app.worker(self.client, wait_seconds=1, grace_seconds=0, **options)
        self._workers.append((worker, asyncio.ensure_future(worker.serve())))

    async def stop_workers(self):
        for worker, serving in self._workers:
            worker.stop()
            worker.stop()
            await serving
        self._workers.clear()

    async def until(self, run_id, *statuses):
        async with asyncio.timeout(30):
            while True:
                run = await self.client.runs.get(run_id)
                if run.status in statuses:
                    return run
                await asyncio.sleep(0.005)

    async def answer(self, run, result=True):
        """Resume a waiting run."""
        call_id = run.waiting_tool_call_id
        kind = "approval" if run.waiting_reason == "approval" else "event"
        await self.client.runs.resume(run.run_id, result, type=kind, tool_call_id=call_id)

    async def ended(self, run_id):
        return await self.until(run_id, "completed", "failed", "cancelled")

    async def events(self, run_id, *types):
        return [event.payload async for event in self.client.events.iter(run_id, event_types=types)]
