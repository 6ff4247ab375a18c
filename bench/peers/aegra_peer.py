"""Aegra: a run of a graph with one node that returns the ten events, with checkpoints in PostgreSQL."""

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg
from common import EVENTS, arguments, free_port, report
from langgraph_peer import GRAPH, rate_of


async def main() -> None:
    options = arguments()
    with psycopg.connect(options.postgres, autocommit=True) as session:
        session.execute('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')  # its first migration needs it
    folder, port = Path(options.directory), free_port()
    (folder / "graph.py").write_text(GRAPH % json.dumps(EVENTS))
    (folder / "aegra.json").write_text(json.dumps({"graphs": {"work": "./graph.py:graph"}}))
    settings = {
        "DATABASE_URL": options.postgres,
        "AEGRA_CONFIG": str(folder / "aegra.json"),
        "LOG_LEVEL": "ERROR",
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "aegra_api.main:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    server = subprocess.Popen(command, cwd=folder, env=os.environ | settings, stdout=subprocess.DEVNULL)
    rate = await rate_of(server, port, options)
    report(f"aegra-api {version('aegra-api')}", rate)


if __name__ == "__main__":
    asyncio.run(main())
