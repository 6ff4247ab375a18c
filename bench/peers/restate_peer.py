"""Restate: a call over its HTTP ingress, one journalled step whose result has the ten events."""

import asyncio
import os
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import httpx
import restate
from common import EVENTS, arguments, free_port, measure, report, until_open
from hypercorn.asyncio import serve
from hypercorn.config import Config

service = restate.Service("bench")


@service.handler()
async def work(ctx: restate.Context, _name: str) -> int:
    found = await ctx.run_typed("events", lambda: EVENTS)
    return len(found)


async def main() -> None:
    options = arguments()
    ports = {name: free_port() for name in ("ingress", "admin", "node", "service")}
    settings = {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports['node']}",
        "RESTATE_BASE_DIR": str(Path(options.directory) / "restate"),
        "RESTATE_LOG_FILTER": "error",
        "DO_NOT_TRACK": "1",
    }
    config = Config()
    config.bind = [f"127.0.0.1:{ports['service']}"]
    config.h2_max_concurrent_streams = 1_000
    Thread(
        target=lambda: asyncio.run(
            serve(restate.app([service]), config, shutdown_trigger=asyncio.Event().wait)
        ),
        daemon=True,
    ).start()
    server = subprocess.Popen(
        [os.environ["RESTATE_SERVER"], "--no-logo"], env=os.environ | settings, stdout=subprocess.DEVNULL
    )
    try:
        for port in ports.values():
            await until_open(port)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits) as http:
            for _ in range(50):
                uri = {"uri": f"http://127.0.0.1:{ports['service']}", "use_http_11": False}
                made = await http.post(f"http://127.0.0.1:{ports['admin']}/deployments", json=uri)
                if made.is_success:
                    break
                await asyncio.sleep(0.2)
            made.raise_for_status()

            async def lifecycle() -> None:
                answer = await http.post(f"http://127.0.0.1:{ports['ingress']}/bench/work", json="x")
                assert answer.json() == 10, answer.text

            rate = await measure(lifecycle, options.concurrency, options.seconds)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    report(f"{os.environ['RESTATE_VERSION']}, restate-sdk {version('restate-sdk')}", rate)


asyncio.run(main())
