"""Lists of runs through the clients: pages that end by bytes, chosen members, what trees leave out."""

import inspect
import json
import typing

import httpx2
import pytest

from runstead.sdk import Client
from runstead.sdk.resources import Resources
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.runs import Runs

from .in_process_server import InProcessServer

NEEDED = "run_id,kind,status,owner,root_run_id,created_at,updated_at"


@pytest.fixture
async def server():
    made = await InProcessServer().open()
    yield made
    await made.close()


async def shelf(client, count=12, size=300_000):
    await client.runs.create("task:t", id="root")
    for number in range(count):
        given = {"id": f"r{number}", "parent_run_id": "root", "input": str(number) * size}
        await client.runs.create("task:t", **given)


async def test_iterators_follow_pages_that_end_by_bytes(server):
    client = server.client
    await shelf(client)
    names = ["root", *(f"r{number}" for number in range(12))]
    page = await client.runs.list(limit=100)
    assert len(page.data) < 12
    assert page.page_info.next is not None
    assert [run.run_id async for run in client.runs.iter(limit=100)] == names[::-1]
    assert [run.run_id async for run in client.runs.iter_all()] == names[::-1]
    first = await client.runs.tree("r3", fields=["input"])
    assert len(first.data) < 13
    assert first.omitted == ["config", "output", "logs"]
    family = [run async for run in client.runs.iter_tree("r3", fields=["input"])]
    assert [run.run_id for run in family] == names
    assert family[5].input == "4" * 300_000
    children = [run async for run in client.runs.iter_children("root", fields=["input"])]
    assert [run.run_id for run in children] == names[1:]


async def test_trees_and_children_leave_out_large_members(server):
    client = server.client
    await shelf(client, 2, 10)
    for page in (await client.runs.tree("root"), await client.runs.children("root")):
        assert page.omitted == ["input", "config", "output", "logs"]
        assert page.page_info.next is None
        assert {run.input for run in page.data} == {None}
    page = await client.runs.tree("root", limit=1)
    assert [run.run_id for run in page.data] == ["root"]
    page = await client.runs.tree("root", cursor=page.page_info.next)
    assert [run.run_id for run in page.data] == ["r0", "r1"]


async def test_members_that_are_not_chosen_are_none(server):
    client = server.client
    await shelf(client, 1, 10)
    [run] = (await client.runs.list(fields=["title"], parent_run_id="root")).data
    assert (run.run_id, run.status, run.input, run.target) == ("r0", "pending", None, None)
    [run] = (await client.runs.list(fields=["input", "target"], parent_run_id="root")).data
    assert (run.input, run.target) == ("0" * 10, "task:t")


def test_the_blocking_client_asks_for_the_same(kit):
    run, more = kit.run_body("a"), {"self": None, "first": None, "next": "7", "prev": None}
    end = more | {"next": None}
    script = kit.Script(
        *[httpx2.Response(200, json={"data": [run], "page_info": info}) for info in (more, end)],
        *[httpx2.Response(200, json={"data": [run], "omitted": ["input"], "page_info": more})],
        *[httpx2.Response(200, json={"data": [run], "omitted": ["input"]})] * 2,
        httpx2.Response(200, json={"data": [], "page_info": end}),
    )
    client = Client("http://server", "k", project="shop", transport=httpx2.MockTransport(script), retries=0)
    assert len(list(client.runs.iter(fields=["title", "status"]))) == 2
    assert len(list(client.runs.iter_tree("a", fields=["input"]))) == 2
    assert len(list(client.runs.iter_children("a"))) == 1
    client.conversations.run_children("c", "a", fields=["status"])
    asked = [dict(request.url.params) for request in script.requests]
    assert asked == [
        {"fields": f"{NEEDED},title"},
        {"cursor": "7", "fields": f"{NEEDED},title"},
        {"fields": f"{NEEDED},input"},
        {"fields": f"{NEEDED},input", "cursor": "7"},
        {},
        {"fields": "run_id,conversation_id,status"},
    ]
    assert json.loads(script.requests[0].content or b"null") is None


def paged_lists():
    """Yield the resource and the name of each method that returns a page."""
    for resource in vars(Resources).values():
        kind = getattr(resource, "func", None)
        for name in dir(kind) if kind else ():
            build = getattr(kind, name)
            answer = typing.get_type_hints(build).get("return") if inspect.isfunction(build) else None
            of = typing.get_args(answer)
            if typing.get_origin(answer) is Call and hasattr(of[0], "page_info"):
                yield kind, name


def test_every_list_in_pages_has_an_iterator():
    found = list(paged_lists())
    assert (Runs, "list_all") in found
    for kind, name in found:
        iterator = "iter" if name == "list" else f"iter_{name.removeprefix('list_')}"
        assert hasattr(kind, iterator), (kind, name)
