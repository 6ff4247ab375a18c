"""A worker is killed after a form was answered: the next attempt gets the secret again, and no file has its plain text."""

from runstead.sdk import Client
from tests.support.server import KEY
from tests.support.until import until

from .program import Program

SECRET = "hunter2-correct-horse-battery"
APP = """
import asyncio
import os
from pathlib import Path

from runstead import App, Context

app = App()


@app.agent("deployer")
async def deployer(ctx: Context) -> int:
    answer = await ctx.ask("Sign in", [{"name": "token", "label": "Token", "type": "password"}])
    length = len(answer["token"].get_secret_value())
    if not Path("killed").exists():
        Path("has_it").touch()
        await asyncio.sleep(600)
    return length
"""


def test_a_worker_that_is_killed_after_the_answer_gets_the_secret_in_its_next_attempt(server, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "jobs.py").write_text(APP)

    def start():
        worker = Program(
            folder, "worker", "jobs:app", "--url", server.url, "--lease-seconds", "5", RUNSTEAD_KEY=KEY
        )
        workers.append(worker)
        worker.wait_for_line("serves")
        return worker

    workers = []
    try:
        with Client(server.url, KEY, project="default") as client:
            talk = client.conversations.create().id
            options = {"conversation_id": talk, "implementation_kind": "python", "input": {"messages": []}}
            run = client.runs.create("agent:deployer", **options).run
            worker = start()
            until(lambda: client.runs.get(run.run_id).waiting_reason == "input", "the form")
            [request] = client.input_requests.list(talk, status="open").data
            client.input_requests.respond(talk, request.id, {"token": SECRET})
            until((folder / "has_it").exists, "the secret in the first attempt")
            (folder / "killed").touch()
            worker.kill()
            start()
            ended = until(lambda: (now := client.runs.get(run.run_id)).terminal and now, "the end")
            assert (ended.status, ended.output) == ("completed", len(SECRET))
            assert [one.outcome for one in client.runs.attempts(run.run_id).data][-2:] == [
                "lease_expired",
                "completed",
            ]
    finally:
        for one in workers:
            one.kill()
    for path in (one for one in tmp_path.rglob("*") if one.is_file() and one.suffix != ".py"):
        assert SECRET.encode() not in path.read_bytes(), path
