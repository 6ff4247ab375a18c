"""`GET /runs` and `GET /projects/{project}/runs`: filters, sort orders and pages."""

import base64
import json
import re
import uuid
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.postgres

BATCH = str(uuid.uuid4())


async def ids(api, query="", path="/runs", **options):
    return [run["run_id"] for run in (await api.get(f"{path}?{query}", **options))["data"]]


async def shelf(api):
    """Six runs, an hour apart: r1 to r6."""
    bodies = [
        api.task("task:a", public_id="r1", title="Count the Shelves", labels={"team": "a", "env": "x:y"}),
        api.task("task:b", public_id="r2", request={"batch_id": BATCH}, labels={"team": "b"}),
        api.task("eval:a", public_id="r3") | {"kind": "eval"},
        api.task("workflow:w", public_id="r4") | {"kind": "workflow"},
        api.task("task:a", public_id="r5", parent_run_id="r1"),
        api.task("task:100%_x", public_id="r6"),
    ]
    for body in bodies:
        await api.create(body)
        api.clock.advance(3_600)
    await api.complete("r2")
    api.clock.advance(60)
    await api.complete("r1", "failed")
    await api.post("/runs/r3/cancel")


FILTERS = {
    "": "r6 r5 r4 r3 r2 r1",
    "status=completed": "r2",
    "status=failed&status=cancelled": "r3 r1",
    "status=pending": "r6 r5 r4",
    "kind=eval&kind=workflow": "r4 r3",
    "kind=agent": "",
    "target=task:a": "r5 r1",
    "target=task:a&target=task:b": "r5 r2 r1",
    f"batch_id={BATCH}": "r2",
    f"schedule_id={BATCH}": "",
    "parent_run_id=r1": "r5",
    "root_only=true": "r6 r4 r3 r2 r1",
    "root_only=false&kind=task": "r6 r5 r2 r1",
    "label=team:a": "r1",
    "label=team:a&label=env:x:y": "r1",
    "label=team:a&label=team:b": "",
    "created_after=2026-03-20T15:00:00Z": "r6 r5",
    "created_after=2026-03-20T16:00:00%2B01:00": "r6 r5",
    "created_before=2026-03-20T13:00:00Z": "r1",
    "created_after=2026-03-20T12:00:00Z&created_before=2026-03-20T15:00:00Z": "r3 r2",
    "q=SHELVES": "r1",
    "q=r5": "r5",
    "q=eval:": "r3",
    "q=100%25_x": "r6",
    "q=%25": "r6",
    "q=_": "r6",
    "q=": "r6 r5 r4 r3 r2 r1",
    "status=failed&target=task:b": "",
    "sort=duration": "r1 r2 r3",
    "sort=duration&status=completed": "r2",
}


async def test_lists_are_filtered_and_sorted(api):
    await shelf(api)
    for query, expected in FILTERS.items():
        assert await ids(api, query) == expected.split(), query
        found = await ids(api, query, path=f"/projects/{api.project.slug}/runs")
        assert found == expected.split(), query


async def test_pages_continue_without_gap_or_repeat(api):
    await shelf(api)
    for query, expected in {
        "": "r6 r5 r4 r3 r2 r1",
        "sort=duration": "r1 r2 r3",
        "kind=task": "r6 r5 r2 r1",
    }.items():
        found, cursor = [], None
        while True:
            page = await api.get(f"/runs?limit=2&{query}" + (f"&cursor={cursor}" if cursor else ""))
            info = page["page_info"]
            assert list(info) == ["self", "first", "next", "prev"]
            assert (info["self"], info["first"], info["prev"]) == (cursor, None, None)
            found += [run["run_id"] for run in page["data"]]
            if info["next"] is None:
                break
            cursor = info["next"]
        assert found == expected.split()


async def test_a_run_created_between_two_pages_shifts_no_row(api):
    await shelf(api)
    page = await api.get("/runs?limit=3")
    await api.create(api.task(public_id="r7"))
    assert await ids(api, f"limit=3&cursor={page['page_info']['next']}") == ["r3", "r2", "r1"]


async def test_an_exact_page_has_no_next(api):
    await shelf(api)
    assert (await api.get("/runs?limit=6"))["page_info"]["next"] is None
    assert (await api.get("/runs?limit=5"))["page_info"]["next"] is not None


async def test_a_page_has_fifty_runs_by_default(driver):
    for _ in range(101):
        await driver.create()
    assert len(await ids(driver)) == 50
    assert len(await ids(driver, "limit=100")) == 100
    assert len(await ids(driver, "limit=1")) == 1


async def test_a_list_of_all_projects_has_the_callers_runs(api):
    mine = await api.create()
    theirs = await api.create({**api.task(), "owner": {"kind": "project", "id": api.other.id}}, by="other")
    assert await ids(api) == [mine["run_id"]]
    assert await ids(api, by="other") == [theirs["run_id"]]
    ada = await api.member("ada")
    await api.member("ada", api.other, role="viewer")
    assert await ids(api, by=ada) == [theirs["run_id"], mine["run_id"]]
    assert await ids(api, by=ada, path="/projects/elsewhere/runs") == [theirs["run_id"]]
    assert await ids(api, by=api.token("eve")) == []
    assert await ids(api, f"parent_run_id={mine['run_id']}", by="other") == []


def cursor(value):
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


BAD = [
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=1.0",
    "limit=1e1",
    "limit=ten",
    "limit=",
    f"limit={10**30}",
    f"limit={'9' * 5_000}",
    "status=done",
    "kind=job",
    "sort=title",
    "root_only=maybe",
    "created_after=yesterday",
    "created_after=2026-03-20T12:00:00",
    "created_after=197",
    "created_after=null",
    "root_only=null",
    "created_before=-1.5e3",
    "created_before=%201774008000",
    "created_after=1969-12-31T23:59:59Z",
    "created_before=0001-01-01T00:00:00%2B14:00",
    "created_before=2026-02-30T12:00:00Z",
    "label=team",
    "q=" + "x" * 256,
    "q=a%00b",
    "label=%00:%00",
    "target=%00",
    "parent_run_id=%00",
    "cursor=",
    "cursor=é",
    "cursor=%00",
    "cursor=abc",
    "cursor=-1",
    f"cursor={cursor('[null,-1]')}",
    f"cursor={cursor('[null,1.5]')}",
    f"cursor={cursor(f'[null,{10**30}]')}",
    f"cursor={cursor('[5,1]')}",
    f"cursor={cursor('[null,1]')}&sort=duration",
    f"cursor={cursor('[-5,1]')}&sort=duration",
    f"cursor={cursor(f'[{10**30},1]')}&sort=duration",
    "&".join(["label=a:b"] * 33),
    "&".join(["target=task:a"] * 101),
]


@pytest.mark.parametrize("query", BAD, ids=range(len(BAD)))
async def test_a_malformed_query_is_refused(driver, query):
    await driver.create()
    for path in ("/runs", f"/projects/{driver.project.id}/runs"):
        problem = await driver.refused(400, "INVALID_REQUEST", "GET", f"{path}?{query}")
        assert re.match("Query: |.* must be a time|A filter by label has the form", problem["detail"])
        assert problem["errors"]


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00"])
async def test_the_first_and_the_last_hours_of_time_are_in_range_in_every_time_zone(api, text):
    created = (await api.create())["run_id"]
    sides = {name: await ids(api, f"{name}={text}") for name in ("created_after", "created_before")}
    assert sorted(sides.values()) == [[], [created]]


async def test_a_search_finds_values_however_their_client_wrote_them(api):
    """Many encoders escape every character beyond ASCII: those of PHP, and of Python by default."""
    path = f"/projects/{api.project.slug}"
    assert (await api.send("PATCH", path, {"search_values": True}, by="admin")).status_code == 200
    api.clock.advance(2)
    escaped = json.dumps(api.task(request={"input": {"city": "Köln 😀"}})).encode()
    assert b"\\u00f6" in escaped
    run = await api.create(escaped)
    for text in ("ö", "Köln 😀"):
        assert await ids(api, f"q={quote(text)}") == [run["run_id"]]


async def test_unusual_search_texts_find_nothing(api):
    await api.create()
    for query in ("q=%FF", "q='%3B--", "q=%5C"):
        assert await ids(api, query) == []
