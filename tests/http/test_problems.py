"""Errors: one format, one message, the right headers."""

import ast
import re
from pathlib import Path

import httpx2
import msgspec
import pytest
import structlog

from runstead.core.errors import CODES, Error
from runstead.http.create_bodies import REQUESTS
from runstead.http.framework.app import operations
from runstead.http.framework.endpoint import Nothing
from runstead.http.framework.problems import STATUS
from runstead.http.framework.values import PATTERNS

ROOT = Path(__file__).parents[2]

#: Codes of errors before a request reaches an operation.
BEFORE = {"REQUEST_TIMEOUT", "URL_TOO_LONG", "HEADERS_TOO_LARGE"}
BEFORE |= {"ADDRESS_LIMIT_REACHED", "CONNECTION_LIMIT_REACHED"}


def test_every_code_has_a_status_of_the_contract():
    assert set(STATUS) == set(CODES)
    known = {400, 401, 403, 404, 405, 409, 410, 412, 413, 416, 428, 429, 500, 503}
    assert {STATUS[code] for code in CODES.keys() - BEFORE} <= known
    assert {STATUS[code] for code in BEFORE} == {408, 414, 429, 431, 503}


def test_every_code_is_documented_by_some_operation():
    from runstead.http.openapi.document import codes_of

    documented = {code for operation in operations() for code in codes_of(operation)}
    assert set(CODES) - documented == {"METHOD_NOT_ALLOWED", *BEFORE}


async def test_a_problem_has_its_members_and_no_others(driver):
    response = await driver.send("GET", "/runs/unknown", headers={"X-Request-Id": "mine"})
    assert response.json() == {
        "type": "/docs#NOT_FOUND",
        "title": "Not Found",
        "status": 404,
        "detail": "Run not found",
        "instance": "/runs/unknown",
        "error": "Run not found",
        "code": "NOT_FOUND",
        "request_id": "mine",
    }


async def test_the_error_of_an_invalid_body_names_path_and_reason(driver):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", {**driver.task(), "kind": "job"})
    assert problem["errors"] == [{"path": "$.kind", "message": KINDS}]
    assert problem["detail"] == f"{KINDS} at $.kind"
    body = driver.task(request={"timeout_seconds": 1.5})
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert problem["errors"] == [
        {"path": "$.request.timeout_seconds", "message": "Expected int | null, got float"}
    ]


async def test_without_a_credential_the_answer_explains_how_to_send_one(driver):
    response = await driver.send("GET", "/runs", by=None)
    problem = driver.problem(response, 401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "X-API-Key" in problem["detail"]
    for headers in (
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "nonsense"},
        {"Authorization": "Bearer a.b.c"},
    ):
        response = await driver.send("GET", "/runs", by=None, headers=headers)
        driver.problem(response, 401, "UNAUTHENTICATED")


async def test_every_protected_operation_needs_a_credential(driver):
    for operation in operations():
        path = operation.path.replace("{", "").replace("}", "")
        response = await driver.send(operation.method, path, by=None)
        assert (response.status_code == 401) != operation.open, path


async def test_an_api_key_is_sent_in_either_header(driver):
    headers = {"X-API-Key": driver.keys["read"]}
    assert (await driver.send("GET", "/runs", by=None, headers=headers)).status_code == 200


async def test_an_unknown_path_is_not_found(driver):
    for path in ("/", "/nowhere", "/runs/a/b/c", "//runs"):
        problem = await driver.refused(404, "NOT_FOUND", "GET", path)
        assert problem["detail"] == "The path does not exist: see /docs"


async def test_a_trailing_slash_is_never_redirected(driver):
    for method, path in (
        ("GET", "/runs/"),
        ("POST", "/runs/"),
        ("POST", "/conversations/"),
        ("GET", "/healthz/"),
    ):
        response = await driver.send(method, path, driver.task() if method == "POST" else ...)
        driver.problem(response, 404, "NOT_FOUND")
        assert "location" not in response.headers


async def test_a_wrong_method_is_refused_with_the_allowed_ones(driver):
    response = await driver.send("PUT", "/runs", {})
    driver.problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "GET, HEAD, POST"
    for method in ("DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert (await driver.send(method, "/healthz", by=None)).status_code == 405


async def test_an_empty_body_with_the_json_content_type_is_accepted(driver):
    run_id = (await driver.create())["run_id"]
    for method, path in (("GET", f"/runs/{run_id}"), ("GET", "/runs"), ("POST", f"/runs/{run_id}/cancel")):
        response = await driver.send(method, path)
        assert response.request.headers["content-type"] == "application/json"
        assert response.status_code == 200


async def test_answers_are_json_and_never_empty(driver):
    run_id = (await driver.create())["run_id"]
    for path in ("/runs", f"/runs/{run_id}", f"/runs/{run_id}/events", "/projects", "/healthz"):
        response = await driver.send("GET", path)
        assert response.headers["content-type"] == "application/json"
        assert response.json()


@pytest.mark.parametrize("code", ["STORE_BUSY", "STORE_UNAVAILABLE"])
async def test_a_failing_store_answers_503_with_retry_after(driver, code):
    async def trouble(*_, **__):
        raise Error(code, "Not now", retry_after_s=2)

    driver.store.runs.apply = trouble
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            response = await driver.send("POST", "/runs", driver.task())
    driver.problem(response, 503, code)
    assert response.headers["retry-after"] == "2"
    refusals = [one["reason"] for one in logs if one["event"] == "the store refused a request"]
    assert refusals == (["Not now"] if code == "STORE_UNAVAILABLE" else [])


async def test_an_unexpected_error_is_logged_and_not_shown(driver):
    async def broken(*_, **__):
        raise ZeroDivisionError("a secret of the house")

    driver.store.runs.apply = broken
    response = await driver.send("POST", "/runs", driver.task())
    driver.problem(response, 500, "INTERNAL")
    assert "secret" not in response.text


async def test_a_caller_that_disconnects_before_its_body_gets_no_answer(driver):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    request = httpx2.Request("POST", "http://runstead.test/runs")
    headers = [(b"authorization", f"Bearer {driver.keys['default']}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/runs",
        "raw_path": request.url.raw_path,
        "headers": headers,
    }
    await driver.http_app({**scope, "query_string": b""}, receive, send)
    assert sent == []


async def test_a_websocket_is_closed(driver):
    sent = []

    async def send(message):
        sent.append(message)

    await driver.http_app({"type": "websocket", "path": "/runs"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


KINDS = "Invalid enum value 'job': it is one of agent, workflow, task, eval"


async def test_a_wrong_scope_is_answered_with_the_scopes(api):
    path = f"/projects/{api.project.slug}/api-keys"
    problem = await api.refused(
        400, "INVALID_REQUEST", "POST", path, {"scopes": ["runs:read", "write"]}, by="admin"
    )
    assert problem["errors"] == [
        {
            "path": "$.scopes[1]",
            "message": "Invalid enum value 'write': it is one of runs:read, runs:write, workers, audit:read, admin, system",
        }
    ]


def test_every_pattern_of_a_request_has_words():
    patterns = {
        pattern
        for operation in operations()
        for shape in (operation.body, operation.query, *REQUESTS.values())
        for pattern in re.findall(r"pattern='(.*?)'[,)]", repr(msgspec.inspect.type_info(shape)))
    }
    assert {ast.literal_eval(f"'{pattern}'") for pattern in patterns} - PATTERNS.keys() == set()
    assert len(patterns) > 5


async def test_no_error_shows_a_pattern(api):
    for change in ({"public_id": "a/b"}, {"parent_run_id": ".."}, {"request": {"target": "task:\x07"}}):
        problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", {**api.task(), **change})
        assert "regex" not in str(problem)
        assert "^" not in str(problem)


async def test_an_unknown_parameter_of_a_list_is_refused_with_the_nearest_name(api):
    problem = await api.refused(400, "INVALID_REQUEST", "GET", "/runs?statsu=failed")
    assert problem["detail"] == "Query: there is no parameter 'statsu': did you mean status?"
    assert problem["errors"] == [{"path": "$.statsu", "message": "unknown parameter"}]
    far = await api.refused(400, "INVALID_REQUEST", "GET", f"/projects/{api.project.slug}/batches?zzz=1")
    assert far["detail"] == "Query: there is no parameter 'zzz': the parameters are cursor, limit"


def test_routes_of_published_clients_accept_any_parameter():
    called = set(re.findall(r"\| GET (/[^ |]+) \|", (ROOT / "docs/compatibility.md").read_text()))
    reads = {one.path: one for one in operations() if one.method == "GET" and one.query is not Nothing}
    assert {path for path in called & reads.keys() if reads[path].strict} == set()
    assert reads["/runs"].strict
