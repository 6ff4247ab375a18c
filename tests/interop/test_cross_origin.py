"""CORS: the preflight request and the headers that let a page of another origin read a stream."""

PAGE = "https://app.example.com"
SETTINGS = {"RUNSTEAD_CORS_ORIGINS": PAGE}
ENGINES = ("sqlite",)
#: The preflight of a browser before the `fetch` of the guide, which sends these two headers.
WANTED = {
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,last-event-id",
}


def test_a_page_of_a_named_origin_may_follow_and_resume(api):
    api.create(api.project_id(), "task:shown", public_id="shown")
    api.complete("shown")
    origin = {"Origin": PAGE}
    asked = api.http.options("/runs/shown/stream", headers=origin | WANTED)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    allowed = asked.headers["access-control-allow-headers"].lower()
    assert {"authorization", "last-event-id"} <= {name.strip() for name in allowed.split(",")}
    answer = api.http.get("/runs/shown/stream", headers=origin | {"Last-Event-ID": "0"})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "event: RunFinished" in answer.text
    missing = api.http.get("/runs/no-such-run/stream", headers=origin)
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, PAGE)


def test_a_page_of_another_origin_gets_no_answer_that_a_browser_would_show(api):
    origin = {"Origin": "https://elsewhere.example.com"}
    for answer in (api.http.options("/runs", headers=origin | WANTED), api.http.get("/runs", headers=origin)):
        assert "access-control-allow-origin" not in answer.headers
