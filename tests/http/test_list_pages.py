"""Lists end by bytes, show the members that are asked for, and lose no row at the end of a page."""

import random
import tracemalloc

import msgspec
import pytest
from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.runs.run import Run, RunStatus
from runstead.http.framework.list_page import fitted
from runstead.http.run_view import RunView, run_view
from runstead.ports.store import ListPage
from tests.support.store_driver import push_service

pytestmark = pytest.mark.postgres

MIB = limits.MIB
MEMBERS = list(RunView.__struct_fields__)


@given(st.lists(st.sampled_from([0, 1, 1_000, 100_000, 400_000, 1_100_000]), max_size=12))
def test_pages_of_any_sizes_hold_every_row_once(sizes):
    rows = [(number, "x" * size) for number, size in enumerate(sizes)]
    found, start = [], 0
    while True:
        page = fitted(ListPage(rows[start:], more=False), lambda row: {"n": row[0], "text": row[1]})
        assert sum(map(len, map(bytes, page.data))) <= MIB or len(page.data) == 1
        found += [msgspec.json.decode(text)["n"] for text in page.data]
        if page.last is None:
            break
        start = page.last[0] + 1
    assert found == list(range(len(sizes)))


def test_no_run_is_smaller_than_the_bound_of_rows_assumes():
    smallest = Run("u", "p", "r", "task", RunStatus.PENDING, "project", "p", "r", 0, 0)
    assert len(msgspec.json.encode(run_view(smallest))) >= limits.run_view_bytes_min


async def shelf(api, sizes):
    """A root with one child for each size of an input."""
    await api.create(api.task(public_id="root"))
    for number, size in enumerate(sizes):
        request = {"input": "x" * size, "config": {"n": number}}
        await api.create(api.task(public_id=f"r{number}", parent_run_id="root", request=request))


async def paged(api, path, mark):
    """The runs of every page, and the pages."""
    found, pages, cursor = [], [], None
    while True:
        response = await api.send("GET", f"{path}{mark}" + ("" if cursor is None else f"&cursor={cursor}"))
        assert response.status_code == 200, response.text
        pages.append(response)
        answer = response.json()
        found += [run["run_id"] for run in answer["data"]]
        cursor = answer.get("page_info", {}).get("next")
        if cursor is None:
            return found, pages


@pytest.mark.parametrize(
    "path",
    [
        "/runs?limit=100",
        "/runs?limit=7",
        "/projects/inventory/runs?q=r",
        "/runs/root/children?fields=run_id,input",
        "/runs/root/tree?fields=run_id&fields=input",
        "/runs/root/tree?limit=3",
    ],
)
@pytest.mark.postgres
async def test_every_run_is_on_one_page_and_no_page_is_larger_than_a_mebibyte(api, path):
    dice = random.Random(7)
    sizes = [dice.choice([0, 10, 40_000, 300_000, 700_000, 1_500_000]) for _ in range(25)]
    await shelf(api, sizes)
    found, pages = await paged(api, path, "")
    expected = [f"r{number}" for number in range(25)]
    if "tree" in path:
        expected.insert(0, "root")
    elif "children" not in path:
        expected = [*expected[::-1], "root"]
    assert found == expected
    for page in pages:
        rows = page.json()["data"]
        assert rows
        assert len(page.content) <= MIB or len(rows) == 1


async def test_a_list_of_inputs_of_a_mebibyte_takes_little_memory(api):
    await shelf(api, [MIB] * 40)
    paths = (
        "/runs?limit=100",
        "/runs?limit=100&q=task",
        "/runs/root/children?fields=input",
        "/runs/root/tree",
    )
    for path in paths:
        await api.get(path)
        tracemalloc.start()
        try:
            response = await api.send("GET", path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert response.status_code == 200
        assert len(response.content) <= 2 * MIB
        assert peak < 16 * MIB, path


async def test_a_tree_of_ten_thousand_and_a_thousand_children_have_pages(driver):
    """Driver: the rules of pages are the same on every engine, and 10,000 runs take a while."""
    await driver.create(driver.task(public_id="root"))
    request = {"target": "task:x", "input": "x" * 9_000}
    for number in range(10):
        runs = [
            {"kind": "task", "request": request, "parent_run_id": "root" if number == 0 else "c0"}
            | ({"public_id": "c0"} if (number, n) == (0, 0) else {})
            for n in range(1_000 if number < 9 else 999)
        ]
        await driver.post(f"/projects/{driver.project.slug}/batches", {"runs": runs}, 202)
    children, child_pages = await paged(driver, "/runs/root/children", "?")
    family, pages = await paged(driver, "/runs/root/tree", "?")
    assert (len(children), len(set(children))) == (1_000, 1_000)
    assert (len(family), len(set(family))) == (10_000, 10_000)
    for page in (*child_pages, *pages):
        assert len(page.content) <= MIB
    assert len(pages) < 20
    whole = await driver.get("/runs/root/tree?fields=run_id,parent_run_id")
    assert [run["run_id"] for run in whole["data"]] == family


async def test_trees_and_children_leave_out_large_members_and_name_them(api):
    await shelf(api, [100])
    await api.complete("r0", output={"a": 1}, logs="line")
    run = await api.run("r0")
    small = run | dict.fromkeys(("input", "config", "output", "logs"))
    assert await api.get("/runs/root/children") == {
        "data": [small],
        "omitted": ["input", "config", "output", "logs"],
    }
    tree = await api.get("/runs/root/tree")
    assert (tree["data"][1], tree["omitted"]) == (small, ["input", "config", "output", "logs"])
    assert "page_info" not in tree
    asked = await api.get("/runs/root/tree?fields=run_id,output,logs&limit=1")
    assert asked["omitted"] == ["input", "config"]
    assert asked["data"] == [{"run_id": "root", "output": None, "logs": None}]
    rest = await api.get(f"/runs/root/tree?fields=run_id,output,logs&cursor={asked['page_info']['next']}")
    assert rest["data"] == [{"run_id": "r0", "output": {"a": 1}, "logs": "line"}]
    assert rest["page_info"]["next"] is None
    assert (await api.get("/runs"))["data"][0] == run


@pytest.mark.parametrize(
    "path", ["/runs", "/projects/inventory/runs", "/runs/root/children", "/runs/root/tree"]
)
async def test_fields_choose_members_and_unknown_ones_are_refused(api, path):
    await shelf(api, [10])
    [run] = [one for one in (await api.get(f"{path}?fields=labels,run_id"))["data"] if one["run_id"] == "r0"]
    assert run == {"run_id": "r0", "labels": {}}
    every = (await api.get(f"{path}?fields={','.join(MEMBERS)}"))["data"]
    assert await api.run("r0") in every
    problem = await api.refused(400, "INVALID_REQUEST", "GET", f"{path}?fields=run_id,secret")
    assert "'secret'" in problem["detail"]
    assert "run_id, kind, status" in problem["detail"]
    assert (await api.get(f"{path}?fields="))["data"] == (await api.get(path))["data"]


async def test_children_of_a_conversation_choose_members_too(api):
    run, path = await api.agent_run()
    child, _ = await api.agent_run(parent_run_id=run["run_id"])
    page = await api.get(f"{path}/children?fields=run_id,status")
    assert page["data"] == [{"run_id": child["run_id"], "status": "pending"}]
    await api.refused(400, "INVALID_REQUEST", "GET", f"{path}/children?fields=input")


async def test_attempts_with_large_errors_have_pages(api):
    await api.create(api.task(public_id="r", request={"backoff_limit": 100}))
    worker, _ = await api.worker()
    for _ in range(5):
        await api.claim(worker)
        release = {"error": "x" * 400_000, "retry_after_seconds": 0}
        await api.post(f"{worker}/runs/r/release", release)
    await api.claim(worker)
    found, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/runs/r/attempts{cursor}")
        found.append([one["attempt"] for one in answer["data"]])
        following = answer.get("page_info", {}).get("next")
        cursor = None if following is None else f"?cursor={following}"
    assert found == [[1, 2], [3, 4], [5, 6]]


async def test_messages_end_by_bytes(api):
    conversation = await api.conversation()
    for number in range(6):
        body = {"role": "user", "parts": [{"type": "text", "text": f"{number}" * 400_000}]}
        await api.post(f"/conversations/{conversation}/messages", body, 201)
    found, cursor = [], ""
    while cursor is not None:
        response = await api.send("GET", f"/conversations/{conversation}/messages?limit=100{cursor}")
        assert len(response.content) <= MIB
        answer = response.json()
        found += [one["parts"][0]["text"][0] for one in answer["data"]]
        following = answer["page_info"]["next"]
        cursor = None if following is None else f"&cursor={following}"
    assert found == list("012345")


@pytest.mark.parametrize("name", ["input", "config"])
async def test_an_input_or_config_over_its_bound_is_refused(api, name):
    most = {"input": limits.run_input_bytes_max, "config": limits.run_config_bytes_max}[name]
    text = "x" * (most - len(b'{"a":""}'))
    run = await api.create(api.task(request={name: {"a": text}}))
    assert run[name] == {"a": text}
    for path, body in (
        ("/runs", api.task(request={name: {"a": f"{text}x"}})),
        (
            "/projects/inventory/batches",
            {"runs": [{"kind": "task", "request": {"target": "task:x", name: {"a": f"{text}x"}}}]},
        ),
    ):
        problem = await api.refused(400, "INVALID_REQUEST", "POST", path, body)
        assert f"request.{name} is larger than {most // MIB} MiB" in problem["detail"]
        assert problem["errors"][0]["path"].endswith(f"request.{name}")


async def test_logs_over_their_bound_are_refused(api):
    await api.create(api.task(public_id="r"))
    text = "é" * (limits.logs_bytes_max // 2)
    body = {"status": "completed", "logs": f"{text}x"}
    problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs/r/complete", body)
    assert problem["detail"] == "logs is larger than 4 MiB"
    assert (await api.complete("r", logs=text))["run"]["logs"] == text


async def test_metadata_of_a_worker_over_its_bound_is_refused(api):
    body = {"implementation_kind": "x", "worker_key": "x", "metadata": {"a": "x" * 256 * 1024}}
    path = "/agent-workers/projects/inventory/workers"
    problem = await api.refused(400, "INVALID_REQUEST", "POST", path, body)
    assert problem["detail"] == "metadata is larger than 256 KiB"


async def test_lists_of_conversations_batches_inputs_and_workers_end_by_bytes(api):
    text = "x" * 200_000
    conversation = None
    for number in range(8):
        conversation = await api.conversation(metadata={"text": text})
        run = await api.create(api.agent(conversation))
        asked = {"run_id": run["run_id"], "tool_call_id": "t", "kind": "form", "title": "?"}
        asked |= {"requested_responder_type": "human", "metadata": {"text": text}}
        asked |= {"fields": [{"type": "text", "name": "a", "label": "A"}]}
        await api.post(f"/conversations/{conversation}/input-requests", asked, 201)
        follow = {"target": "task:x", "config": {"text": text[:60_000]}}
        batch = {"runs": [{"kind": "task", "request": {"target": "task:x"}}], "on_complete": follow}
        for _ in range(3):
            await api.post("/projects/inventory/batches", batch, 202)
        worker = {"implementation_kind": "x", "worker_key": f"w{number}", "metadata": {"text": text}}
        await api.post("/agent-workers/projects/inventory/workers", worker, 201)
    lists = {
        "/conversations": 8,
        f"/conversations/{conversation}/input-requests": 1,
        "/projects/inventory/batches": 24,
        "/agent-workers/projects/inventory/workers": 8,
    }
    for path, count in lists.items():
        ids, cursor = [], ""
        while cursor is not None:
            response = await api.send("GET", f"{path}?limit=100{cursor}")
            assert len(response.content) <= MIB, path
            answer = response.json()
            ids += [one["id"] for one in answer["data"]]
            following = answer["page_info"]["next"]
            cursor = None if following is None else f"&cursor={following}"
        assert (len(ids), len(set(ids))) == (count, count), path


async def whole(api, path, member="data", by="admin"):
    """The rows of every page, each of at most `limits.list_page_bytes_max`, and the number of pages."""
    rows, pages, cursor = [], 0, None
    while True:
        mark = "&" if "?" in path else "?"
        response = await api.send("GET", path + (f"{mark}cursor={cursor}" if cursor else ""), by=by)
        assert response.status_code == 200, response.text
        assert len(response.content) <= limits.list_page_bytes_max
        answer = response.json()
        rows, pages, cursor = rows + answer[member], pages + 1, answer.get("page_info", {}).get("next")
        if cursor is None:
            return rows, pages


async def test_lists_without_limit_end_by_bytes_and_go_on(api, monkeypatch):
    here, name = "/projects/inventory", "é" * 120
    url, agent = "https://agents.test/", "/agent-runtimes/push-services"
    service = {"service_name": "s", "scope_kind": "project", "project_id": api.project.id}
    service |= {"base_url": url, "invoke_url": url, "metadata": {"text": "x" * 1_000}}
    ada = api.token("ada")
    monkeypatch.setattr(api.app, "projects_per_user_max", 9)
    for number in range(9):
        mine = f"{number}{name}"
        await api.post(f"{here}/members", {"user_id": mine}, 201, by="admin")
        await api.post(f"{here}/api-keys", {"name": mine}, 201, by="admin")
        price = {"provider": mine, "model": name, "input": 1, "output": 1}
        await api.send("PUT", f"{here}/prices", price, by="admin")
        await api.post("/projects", {"slug": f"p-{number}", "name": mine}, 201, by=ada)
        await api.post(agent, service | {"service_key": f"k-{number}"}, 201)
        target = {"kind": "task", "id": "x"}
        schedule = {"name": mine, "target": target, "schedule": "0 3 * * *", "config": {"text": "x" * 1_000}}
        await api.post(f"{here}/schedules", schedule, 201, by="admin")
        trigger = {"target": "task:x", "name": mine, "config": {"text": "x" * 1_000}}
        await api.post(f"{here}/triggers", trigger, 201, by="admin")
    monkeypatch.setattr(limits, "list_page_bytes_max", 3_000)
    for path, member, key, least, by in (
        (f"{here}/members", "data", "user_id", 9, "admin"),
        (f"{here}/api-keys", "data", "id", 9, "admin"),
        (f"{here}/prices", "data", "provider", 9, "admin"),
        ("/projects", "data", "id", 9, ada),
        (agent, "data", "id", 9, "admin"),
        (f"{agent}?project={api.project.id}", "data", "id", 9, "admin"),
        (f"{here}/schedules", "schedules", "id", 9, "admin"),
        (f"{here}/triggers", "data", "id", 9, "admin"),
        (f"{here}/audit?limit=100", "data", "id", 36, "admin"),
    ):
        rows, pages = await whole(api, path, member, by)
        assert pages > 1, path
        assert len({row[key] for row in rows}) == len(rows) >= least, path
        await api.refused(400, "INVALID_REQUEST", "GET", path.partition("?")[0] + "?cursor=other", by=by)


async def test_a_list_under_the_bound_has_no_page_info(api):
    """As published clients know it."""
    assert await api.get("/projects/inventory/schedules", by="admin") == {
        "schedules": [],
        "source_schedules": [],
    }
    assert set(await api.get("/projects/inventory/members", by="admin")) == {"data"}


async def test_the_largest_schedules_and_triggers_take_little_memory_to_list(api):
    config = {"text": "x" * (limits.schedule_config_bytes_max - 20)}
    for number in range(60):
        schedule = {"name": f"s{number}", "target": {"kind": "task", "id": "x"}, "schedule": "0 3 * * *"}
        await api.post("/projects/inventory/schedules", schedule | {"config": config}, 201, by="admin")
        trigger = {"target": "task:x", "config": config}
        await api.post("/projects/inventory/triggers", trigger, 201, by="admin")
    for path, member in (("schedules", "schedules"), ("triggers", "data")):
        tracemalloc.start()
        rows, pages = await whole(api, f"/projects/inventory/{path}", member)
        kept = sum(len(msgspec.json.encode(row)) for row in rows)  # the client's, in the same process
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (len(rows), pages >= 4) == (60, True)
        assert peak - kept < 12 * MIB, (path, peak, kept)


async def test_values_of_a_push_service_over_their_bound_are_refused(api):
    url = "https://agents.test/"
    body = {"service_name": "s", "service_key": "k", "scope_kind": "global"}
    body |= {"base_url": url, "invoke_url": url}
    for name in ("metadata", "capabilities"):
        large = body | {name: {"text": "x" * limits.push_service_value_bytes_max}}
        problem = await api.refused(400, "INVALID_REQUEST", "POST", "/agent-runtimes/push-services", large)
        assert problem["detail"] == f"{name} is larger than 16 KiB"


async def test_a_snapshot_of_large_input_requests_ends_by_bytes(api):
    """The newest are shown."""
    run, path = await api.agent_run()
    conversation = path.split("/")[2]
    form = {"run_id": run["run_id"], "kind": "form", "title": "?", "requested_responder_type": "human"}
    form |= {"fields": [{"type": "text", "name": "a", "label": "A"}], "metadata": {"text": "x" * 250_000}}
    requests = f"/conversations/{conversation}/input-requests"
    for number in range(6):
        made = await api.post(requests, form | {"tool_call_id": f"t{number}"}, 201)
        await api.post(f"{requests}/{made['id']}/responses", {"values": {"a": "x"}}, 201)
    response = await api.send("GET", f"{path}/snapshot")
    assert len(response.content) <= limits.list_page_bytes_max + limits.KIB
    state = response.json()["events"][1]["event"]["snapshot"]
    assert list(state["inputRequestsByToolCallId"]) == ["t5", "t4", "t3", "t2"]


async def family(api):
    """above ─ own ─ below, and a sibling of own."""
    for name, parent in (("above", None), ("own", "above"), ("sibling", "above"), ("below", "own")):
        await api.create(api.task(public_id=name, parent_run_id=parent, request={"input": name}))


async def bound_tokens(api):
    """Tokens that are bound to the run `own`: of a push service, of an identity provider."""
    from .pushed import PAIR

    await api.store.signing_keys.add(PAIR, only_first=True)
    service = await api.store.push_services.register(push_service("svc", reach=(api.project.id,)))
    who = {"user_id": "ada", "service_id": service.id, "issuer": f"push_service:{service.id}"}
    who["project_id"] = api.project.id
    yield await api.app.keyring.service_token(**who, run_id="own")
    yield api.token(projectId=api.project.id, runId="own")


async def test_a_token_of_one_run_reads_neither_ancestors_nor_siblings(api):
    await family(api)
    async for token in bound_tokens(api):
        tree = await api.get("/runs/own/tree?fields=run_id,input", by=token)
        assert tree["data"] == [{"run_id": "own", "input": "own"}, {"run_id": "below", "input": "below"}]
        children = await api.get("/runs/own/children", by=token)
        assert [run["run_id"] for run in children["data"]] == ["below"]
        for run_id in ("above", "sibling"):
            for part in ("", "/tree", "/children", "/events", "/attempts", "/usage", "/stream"):
                response = await api.send("GET", f"/runs/{run_id}{part}", by=token)
                assert response.status_code in (403, 404), (run_id, part)
        for path in (
            "/runs?parent_run_id=above",
            "/runs?root_only=true",
            "/projects/inventory/runs",
            "/runs/own/usage",
            "/runs/own/events?include_descendants=true",
            "/runs/own/stream?include_descendants=true",
        ):
            await api.refused(403, "FORBIDDEN", "GET", path, by=token)


async def test_a_service_sees_its_own_family_from_anywhere_in_it(api):
    await family(api)
    [service, _] = [token async for token in bound_tokens(api)]
    tree = await api.get("/runs/below/tree", by=service)
    assert [run["run_id"] for run in tree["data"]] == ["own", "below"]


async def test_a_writer_of_events_reads_no_family(api):
    await family(api)
    _ = [token async for token in bound_tokens(api)]
    who = {"user_id": "ada", "service_id": "svc", "issuer": "push_service:svc", "project_id": api.project.id}
    writer = await api.app.keyring.run_event_token(**who, run_id="own")
    for path in ("/runs/own/tree", "/runs/own/children", "/runs/above/tree", "/runs"):
        await api.refused(
            403 if "above" not in path else 404,
            "FORBIDDEN" if "above" not in path else "NOT_FOUND",
            "GET",
            path,
            by=writer,
        )


async def test_a_list_that_was_empty_when_it_was_first_read_shows_what_is_added(api):
    """Each engine derives how it reads a statement's rows from the first of them."""
    path = "/projects/inventory/triggers"
    assert await whole(api, path) == ([], 1)
    await api.post(path, {"target": "task:a"}, 201, by="admin")
    assert len((await whole(api, path))[0]) == 1
