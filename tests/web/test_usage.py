"""The pages of usage and prices, and the CSV export."""

import csv
import io
import re

import pytest

from .web_client import WebClient, page_text

PLACE = "/ui/projects/default/usage"
PRICE = {
    "provider": "acme",
    "model": "big",
    "input": "2.50",
    "output": "10",
    "cached": "0.25",
    "reasoning": "",
}
HOSTILE = "=<script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


@pytest.fixture(scope="module")
def used(server):
    """Runs that report usage: two models, three targets (one of a schedule), one family."""
    with server.api() as api:
        project = api.project_id()
        top = report(
            api, api.create(project, "task:report"), "acme", "big", 1_000_000, 200_000, cached=400_000
        )
        report(api, api.create(project, "task:child", parent=top["run_id"]), "acme", "small", 5_000, 1_000)
        body = {"name": "Nightly", "target": {"kind": "task", "id": "night"}, "schedule": "0 0 1 1 *"}
        schedule = api.post("/projects/default/schedules", body)["schedule"]
        started = api.post(f"/projects/default/schedules/{schedule['id']}/runs", {"idempotency_key": "k"})
        report(api, api.run(started["run_id"]), "other", HOSTILE, 7, 3, reasoning=2)
        return {"top": top, "schedule": schedule}


def report(api, run, provider, model, input_tokens, output_tokens, *, cached=0, reasoning=0):
    """Complete a run that reports this usage."""
    metadata = {"provider": provider, "model": model, "inputTokens": input_tokens, "outputTokens": output_tokens,
                "cachedInputTokens": cached, "reasoningTokens": reasoning}  # fmt: skip
    return api.complete(run["run_id"], metadata=metadata)["run"]


def row(page, text):
    """The cells of the row with this text."""
    found = next(part for part in page.text.split("<tr>")[1:] if text in part)
    parts = re.split(r"</t[hd]>", found.partition("</tr>")[0])
    return [" ".join(re.sub(r"<[^>]*>", " ", part).split()) for part in parts[:-1]]


@pytest.mark.postgres
def test_the_totals_are_shown(web_client, used):
    text = page_text(web_client.get(PLACE, period="today"))
    assert "Input tokens 1,005,007 400,000 cached" in text
    assert "Output tokens 201,003 2 reasoning" in text
    assert "Runs that reported 3" in text


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("by", "name", "numbers"),
    [
        ("model", ">big", ["1", "1,000,000", "400,000", "200,000", "0"]),
        ("target", "task:child", ["1", "5,000", "0", "1,000", "0"]),
        ("schedule", "Nightly", ["1", "7", "0", "3", "2"]),
    ],
)
def test_usage_is_grouped(web_client, used, by, name, numbers):
    assert row(web_client.get(PLACE, by=by), name)[1:6] == numbers


@pytest.mark.postgres
def test_a_family_is_grouped_under_its_root(web_client, used):
    page = web_client.get(PLACE, by="family")
    assert row(page, used["top"]["run_id"])[1:6] == ["2", "1,005,000", "400,000", "201,000", "0"]
    assert f"/runs/{used['top']['run_id']}" in page.text
    assert "acme / small" in page_text(page)


@pytest.mark.postgres
def test_a_keys_name_is_shown_only_to_admins(server, web_client, used, api):
    assert row(web_client.get(PLACE, by="key"), '<th scope="row">')[:2] == ["bootstrap", "3"]
    key = api.post("/projects/default/api-keys", {"name": "reader", "scopes": ["runs:read"]})["key"]
    reader = WebClient(server, key)
    assert row(reader.get(PLACE, by="key"), '<th scope="row">')[0] != "bootstrap"
    reader.close()


def test_the_address_contains_the_period(web_client, used):
    old = web_client.get(PLACE, **{"from": "2020-01-01", "to": "2020-01-31", "by": "target"})
    assert "No run in this period reported" in page_text(old)
    assert 'value="2020-01-01"' in old.text
    assert "?by=day&amp;from=2020-01-01&amp;to=2020-01-31" in old.text
    week = web_client.get(PLACE, period="7d")
    assert re.search(r'period=7d" aria-current="true"', week.text)
    assert "is after" in page_text(web_client.get(PLACE, 400, **{"from": "2020-01-02", "to": "2020-01-01"}))


@pytest.mark.postgres
def test_a_chart_has_a_bar_for_today(web_client, used):
    page = web_client.get(PLACE, period="30d")
    svg = page.text.partition("<svg")[2].partition("</svg>")[0]
    assert svg.count("<g>") == 30
    assert "1,206,010 tokens" in svg
    assert 'height="100"' in svg


@pytest.mark.postgres
def test_prices_are_set_and_costs_follow(web_client, used):
    assert "no price" in page_text(web_client.get(PLACE, by="model"))
    text = web_client.submit(f"{PLACE}/prices", **PRICE)
    assert "The price was stored." in text
    assert "acme big 2.50 0.25 10.00 —" in text
    cost = row(web_client.get(PLACE, by="model"), ">big")[-1]
    assert cost == "3.60"  # 1.50 for input, 0.10 for cached input, 2.00 for output
    assert "2 of 3 runs have no price" in page_text(web_client.get(PLACE))
    assert "Cost by day" in web_client.get(PLACE).text
    change = web_client.get(f"{PLACE}/prices", provider="acme", model="big")
    assert 'name="cached" value="0.25"' in change.text
    web_client.post(f"{PLACE}/prices", **PRICE | {"model": "*", "input": "1", "output": "1", "cached": ""})
    assert row(web_client.get(PLACE, by="model"), ">small")[-1] == "0.006"
    assert "The price was deleted." in web_client.submit(f"{PLACE}/prices/delete", provider="acme", model="*")
    assert row(web_client.get(PLACE, by="model"), ">small")[-1] == "no price"
    web_client.post(f"{PLACE}/prices/delete", 404, provider="acme", model="*")


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("input", "free"),
        ("output", "-1"),
        ("cached", "0.0000001"),
        ("reasoning", "1e9"),
        ("provider", ""),
        ("model", "x" * 300),
    ],
)
def test_an_invalid_price_is_rejected_at_its_field(web_client, field, typed):
    page = web_client.post(f"{PLACE}/prices", 400, **PRICE | {"provider": "refused", field: typed})
    assert f'id="error-{field}"' in page.text
    assert "refused" not in page_text(web_client.get(f"{PLACE}/prices"))


def test_only_admins_change_prices(server):
    with server.api() as api:
        key = api.post("/projects/default/api-keys", {"name": "writer", "scopes": ["runs:write"]})["key"]
    writer = WebClient(server, key)
    page = writer.get(f"{PLACE}/prices")
    assert "Save the price" not in page.text
    assert "Admins of the project can change them." in page_text(page)
    writer.post(f"{PLACE}/prices", 403, **PRICE)
    writer.post(f"{PLACE}/prices/delete", 403, provider="acme", model="big")
    writer.get(PLACE, by="key")
    writer.close()


@pytest.mark.postgres
def test_the_report_can_be_downloaded_as_csv(web_client, used):
    answer = web_client.get(f"{PLACE}.csv", by="target", period="today")
    assert answer.headers["content-type"].startswith("text/csv")
    assert re.fullmatch(
        r'attachment; filename="usage-by-target-[\d-]+-to-[\d-]+\.csv"', answer.headers["content-disposition"]
    )
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {one["target"]: one["input_tokens"] for one in rows} == {
        "task:report": "1000000", "task:child": "5000", "task:night": "7",
    }  # fmt: skip
    assert next(one for one in rows if one["target"] == "task:night")["model"] == f"'{HOSTILE}"


def test_a_hostile_model_is_shown_as_text(web_client, used):
    for by in ("model", "schedule"):
        page = web_client.get(PLACE, by=by)
        assert "<script>alert" not in page.text
        assert "\u202e" not in page.text
