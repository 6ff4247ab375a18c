"""Lists and streams with include_descendants: the events of a family in one order."""

import json

import pytest

pytestmark = pytest.mark.postgres


async def family(api):
    """A root agent run with a child and a grandchild, all of them tasks but the root: their ids, the root's
    path.
    """
    root, path = await api.agent_run()
    child = await api.create(api.task(parent_run_id=root["run_id"]))
    grandchild = await api.create(api.task(parent_run_id=child["run_id"]))
    return root["run_id"], child["run_id"], grandchild["run_id"], path


def items(response):
    """The items of a stream's frames, each with the frame's id and name."""
    assert response.status_code == 200, response.text
    found = []
    for block in response.text.split("\n\n"):
        if block and not block.startswith(":"):
            names, values = zip(*(line.split(": ", 1) for line in block.split("\n")), strict=True)
            assert names == ("id", "event", "data")
            found.append((values[0], values[1], json.loads(values[2])))
    return found


async def end(api, *run_ids):
    for run_id in run_ids:
        await api.complete(run_id)


async def test_a_familys_list_shows_the_run_of_each_event(api):
    root, child, grandchild, path = await family(api)
    await api.append(grandchild, {"type": "A"})
    await api.append(root, {"type": "B"})
    await api.append(child, {"type": "C"}, {"type": "D"})
    expected = [(grandchild, 1, "A"), (root, 1, "B"), (child, 1, "C"), (child, 2, "D")]
    page = await api.get(f"/runs/{root}/events?include_descendants=true")
    assert [(e["run_id"], e["event_id"], e["payload"]["type"]) for e in page["data"]] == expected
    assert page["page_info"] == {"self": None, "first": None, "next": None, "prev": None}
    page = await api.get(f"{path}/events?include_descendants=true")
    assert [(e["run_id"], e["event_id"], e["event"]["type"]) for e in page["data"]] == expected
    descendants = await api.get(f"/runs/{child}/events?include_descendants=true&event_type=A&event_type=D")
    assert [(e["run_id"], e["event_type"]) for e in descendants["data"]] == [(grandchild, "A"), (child, "D")]
    alone = await api.get(f"/runs/{root}/events?include_descendants=false")
    assert [set(e) for e in alone["data"]] == [{"event_id", "event_type", "payload", "created_at", "source"}]


@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.postgres
async def test_a_familys_pages_continue_by_cursor(api, limit):
    root, child, grandchild, _ = await family(api)
    for n in range(3):
        for run_id in (root, grandchild, child):
            await api.append(run_id, {"type": "A", "n": n})
    found, cursor = [], ""
    while cursor is not None:
        given = f"&cursor={cursor}" if cursor else ""
        page = await api.get(f"/runs/{root}/events?include_descendants=true&limit={limit}{given}")
        assert page["page_info"]["self"] == (cursor or None)
        found += [(e["run_id"], e["event_id"]) for e in page["data"]]
        cursor = page["page_info"]["next"]
    assert found == [(run_id, n) for n in (1, 2, 3) for run_id in (root, grandchild, child)]
    # Each item's cursor is a place to go on from, the last one's too
    after = f"/runs/{root}/events?include_descendants=true&cursor={page['data'][-1]['cursor']}"
    assert (await api.get(after))["data"] == []
    await api.append(child, {"type": "B"})
    assert [e["event_type"] for e in (await api.get(after))["data"]] == ["B"]


async def test_a_stream_of_an_ended_family_is_replayed_and_ends(api):
    root, child, grandchild, path = await family(api)
    await api.append(child, {"type": "TOOL_CALL_START"})
    await end(api, root, grandchild, child)
    for stream, member in ((f"/runs/{root}", "payload"), (path, "event")):
        found = items(await api.send("GET", f"{stream}/stream?include_descendants=true"))
        assert [(name, item["run_id"], item["event_id"]) for _, name, item in found] == [
            ("ToolCallStart", child, 1),
            ("RunFinished", root, 1),
            ("RunFinished", grandchild, 1),
            ("RunFinished", child, 2),
        ]
        listed = (await api.get(f"{stream}/events?include_descendants=true"))["data"]
        assert [item for _, _, item in found] == listed
        assert all(item["cursor"] == cursor for cursor, _, item in found)
        assert all(item[member]["type"] == item["event_type"] for item in listed)


async def test_a_stream_of_a_family_resumes_exactly_after_any_of_its_ids(api):
    root, child, grandchild, _ = await family(api)
    for run_id in (grandchild, root, child, root):
        await api.append(run_id, {"type": "A"}, {"type": "B"})
    await end(api, root, grandchild, child)
    stream = f"/runs/{root}/stream?include_descendants=true"
    whole = items(await api.send("GET", stream))
    assert len(whole) == 11
    for place, (cursor, _, _) in enumerate(whole, 1):
        headers = {"Last-Event-ID": cursor}
        assert items(await api.send("GET", stream, headers=headers)) == whole[place:]
        assert items(await api.send("GET", f"{stream}&cursor={cursor}")) == whole[place:]
    wins = await api.send("GET", f"{stream}&cursor={whole[0][0]}", headers={"Last-Event-ID": whole[8][0]})
    assert items(wins) == whole[9:]
    only = items(await api.send("GET", f"{stream}&event_type=B", headers={"Last-Event-ID": whole[2][0]}))
    assert [(item["run_id"], item["event_type"]) for _, _, item in only] == [
        (root, "B"),
        (child, "B"),
        (root, "B"),
    ]


async def test_private_events_of_a_family_are_never_shown(api):
    root, child, grandchild, _ = await family(api)
    private = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "prompt": "secret"}
    await api.append(child, private, {"type": "A"}, expected_previous_event_id=0)
    await end(api, root, grandchild, child)
    for shown in ("events", "stream"):
        text = (await api.send("GET", f"/runs/{root}/{shown}?include_descendants=true")).text
        assert "secret" not in text
        assert "CONTEXT" not in text


async def test_cursors_of_one_run_and_of_a_family_are_not_mixed(api):
    root, _, _, _ = await family(api)
    other, _, _, _ = await family(api)
    await api.append(other, {"type": "A"})
    listed = await api.get(f"/runs/{other}/events?include_descendants=true")
    foreign = listed["data"][0]["cursor"]
    for shown in ("events", "stream"):
        where = f"/runs/{root}/{shown}"
        for query in (
            "include_descendants=true&after_event_id=1",
            f"cursor={foreign}",
            f"include_descendants=true&cursor={foreign}",
            "include_descendants=true&cursor=7",
            "include_descendants=maybe",
        ):
            await api.refused(400, "INVALID_REQUEST", "GET", f"{where}?{query}")
    stream = f"/runs/{root}/stream"
    for last, query in (
        ("7", "?include_descendants=true"),
        (foreign, "?include_descendants=true"),
        (foreign, ""),
    ):
        await api.refused(400, "INVALID_REQUEST", "GET", f"{stream}{query}", headers={"Last-Event-ID": last})


async def test_a_token_bound_to_a_run_reads_no_other_runs_events(api):
    await api.member("ada", role="admin")
    run = await api.create()
    bound = api.token("ada", runId=run["run_id"])
    for shown in ("events", "stream"):
        path = f"/runs/{run['run_id']}/{shown}?include_descendants=true"
        await api.refused(403, "FORBIDDEN", "GET", path, by=bound)


@pytest.mark.parametrize("asked", ["A", "RUN_FINISHED", "nothing"])
@pytest.mark.postgres
async def test_a_filtered_stream_has_its_types_only_and_still_ends(api, asked):
    run, path = await api.agent_run()
    await api.append(run["run_id"], {"type": "A"}, {"type": "B"}, {"type": "A"})
    await api.complete(run["run_id"])
    expected = {"A": ["1", "3"], "RUN_FINISHED": ["4"], "nothing": []}[asked]
    for stream in (f"/runs/{run['run_id']}/stream", f"{path}/stream"):
        response = await api.send("GET", f"{stream}?event_type={asked}")
        ids = [line[4:] for line in response.text.split("\n") if line.startswith("id: ")]
        assert ids == expected
