"""LangGraph dev: a run of a graph with one node that returns the ten events. Its server holds runs in memory."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from common import EVENTS, arguments, free_port, measure, report, until_open
from langgraph_sdk import get_client

GRAPH = """
from typing import Any, TypedDict
from langgraph.graph import END, START, StateGraph

EVENTS: list[dict[str, Any]] = %s

class State(TypedDict, total=False):
    events: list[dict[str, Any]]

async def work(state: State) -> State:
    return {"events": EVENTS}

builder = StateGraph(State)
builder.add_node("work", work)
builder.add_edge(START, "work")
builder.add_edge("work", END)
graph = builder.compile()
"""


async def rate_of(server: subprocess.Popen[bytes], port: int, options: argparse.Namespace) -> float:
    """Measure a server of LangGraph's API, and end it."""
    try:
        await until_open(port, 90)
        client = get_client(url=f"http://127.0.0.1:{port}")

        async def lifecycle() -> None:
            thread = await client.threads.create()
            state = await client.runs.wait(thread["thread_id"], "work", input={})
            assert len(state["events"]) == 10

        return await measure(lifecycle, options.concurrency, options.seconds)
    finally:
        server.terminate()
        server.wait()


async def main() -> None:
    options = arguments()
    folder, port = Path(options.directory), free_port()
    (folder / "graph.py").write_text(GRAPH % json.dumps(EVENTS))
    settings = {"dependencies": ["."], "graphs": {"work": "./graph.py:graph"}}
    (folder / "langgraph.json").write_text(json.dumps(settings))
    langgraph = Path(sys.executable).parent / "langgraph"
    command = [langgraph, "dev", "--no-browser", "--no-reload", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--n-jobs-per-worker", str(options.concurrency)],
        cwd=folder,
        env=os.environ
        | {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LOG_LEVEL": "ERROR", "LANGSMITH_TRACING": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rate = await rate_of(server, port, options)
    report(f"langgraph-cli {version('langgraph-cli')}, langgraph-api {version('langgraph-api')}", rate)


if __name__ == "__main__":
    asyncio.run(main())
