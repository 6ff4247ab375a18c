import httpx2
import pytest

from runstead.sdk import Client, NoAnswerError, Retries, RunsteadError


@pytest.fixture
def scripted(kit):
    """Return a client with scripted answers, the script, and the seconds that it slept."""

    def make(*outcomes, **options):
        script, slept = kit.Script(*outcomes), []
        options.setdefault("retries", Retries(times=3, jitter=lambda: 1.0, now=lambda: 1_774_008_000.0))
        client = Client(
            "http://server",
            "vf_abc_secret",
            project="shop",
            transport=httpx2.MockTransport(script),
            sleep=slept.append,
            **options,
        )
        return client, script, slept

    return make


@pytest.fixture
def run(kit):
    return lambda: httpx2.Response(200, json=kit.run_body("a"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_temporary_refusal_is_retried_with_growing_delays(scripted, run, status):
    client, script, slept = scripted(httpx2.Response(status), httpx2.Response(status), run())
    assert client.runs.get("a").run_id == "a"
    assert slept == [0.25, 0.5]
    assert len(script.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 413])
def test_any_other_refusal_is_final(scripted, status):
    client, script, slept = scripted(httpx2.Response(status))
    with pytest.raises(RunsteadError) as caught:
        client.runs.get("a")
    assert caught.value.status == status
    assert (len(script.requests), slept) == (1, [])


def test_a_broken_connection_is_retried(scripted, run):
    client, _, slept = scripted(httpx2.ReadError("reset"), httpx2.ConnectError("refused"), run())
    assert client.runs.get("a").run_id == "a"
    assert slept == [0.25, 0.5]


def test_after_the_last_retry_the_error_is_raised(scripted):
    client, script, _ = scripted(*[httpx2.ConnectError("refused")] * 4)
    with pytest.raises(NoAnswerError, match=r"No answer to GET /runs/a: ConnectError: refused"):
        client.runs.get("a")
    assert len(script.requests) == 4


def test_retry_after_in_seconds_is_waited_for_with_jitter_on_top(scripted, run, kit):
    client, _, slept = scripted(kit.problem(503, "STORE_BUSY", **{"Retry-After": "7"}), run())
    client.runs.get("a")
    assert slept == [7.25]


def test_retry_after_may_be_a_date(scripted, run, kit):
    date = {"Retry-After": "Fri, 20 Mar 2026 12:00:05 GMT"}
    client, _, slept = scripted(kit.problem(503, "STORE_BUSY", **date), run())
    client.runs.get("a")
    assert slept == [5.25]


def test_a_retry_after_above_the_maximum_is_raised(scripted, kit):
    client, _, slept = scripted(kit.problem(429, "SLOW", **{"Retry-After": "3600"}))
    with pytest.raises(RunsteadError) as caught:
        client.runs.get("a")
    assert (caught.value.retry_after_s, slept) == (3600, [])


def test_clients_of_a_busy_server_return_later_each_time_and_not_at_the_same_moment():
    low, high = Retries(jitter=lambda: 0.0), Retries(jitter=lambda: 1.0)
    assert [low.delay_s(number, 1.0) for number in range(4)] == [1.0] * 4
    assert [high.delay_s(number, 1.0) for number in range(4)] == [1.25, 1.5, 2.0, 3.0]


def test_jitter_is_full():
    low, high = Retries(jitter=lambda: 0.0), Retries(jitter=lambda: 1.0)
    assert [low.delay_s(n) for n in range(3)] == [0, 0, 0]
    assert [high.delay_s(n) for n in (0, 3, 50, 5000)] == [0.25, 2.0, 10.0, 10.0]


def test_the_idempotency_key_is_the_same_for_every_repeat_and_another_for_every_call(scripted, kit):
    made = {"accepted": True, "run": kit.run_body("a")}
    project = {"id": "11111111-1111-4111-8111-111111111111", "slug": "shop", "name": "Shop"}
    client, script, _ = scripted(
        httpx2.Response(200, json=project),
        httpx2.Response(500),
        httpx2.ReadError("reset"),
        httpx2.Response(202, json=made),
        httpx2.Response(202, json=made),
    )
    client.runs.create("task:t")
    client.runs.create("task:t")
    keys = [request.headers["Idempotency-Key"] for request in script.requests[1:]]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] != keys[0]


def test_a_key_still_in_use_by_the_request_that_was_repeated_is_waited_out(scripted, kit):
    in_use = kit.problem(409, "IDEMPOTENCY_KEY_IN_USE")
    done = httpx2.Response(200, json={"cancelled": True, "run": kit.run_body("a", "cancelled")})
    client, _, _ = scripted(httpx2.ReadTimeout("slow"), in_use, done)
    assert client.runs.cancel("a").cancelled


def test_a_key_in_use_by_another_call_is_an_error(scripted, kit):
    client, _, _ = scripted(kit.problem(409, "IDEMPOTENCY_KEY_IN_USE"))
    with pytest.raises(RunsteadError, match="IDEMPOTENCY_KEY_IN_USE"):
        client.runs.cancel("a")


def test_a_claim_whose_answer_was_lost_is_not_repeated(scripted):
    client, script, _ = scripted(httpx2.ReadError("reset"))
    with pytest.raises(NoAnswerError):
        client.workers.claim("w", 30)
    assert len(script.requests) == 1


def test_a_claim_that_was_not_sent_is_repeated(scripted):
    nothing = httpx2.Response(200, json={"run": None, "runs": []})
    client, _, _ = scripted(httpx2.ConnectError("refused"), httpx2.Response(503), nothing)
    assert client.workers.claim("w", 30).run is None


def test_an_ambiguous_run_id_is_looked_up_again_in_the_clients_project(scripted, run, kit):
    client, script, _ = scripted(kit.problem(409, "RUN_ID_AMBIGUOUS"), run())
    client.runs.get("a")
    assert [str(request.url) for request in script.requests] == [
        "http://server/runs/a",
        "http://server/runs/a?project=shop",
    ]
