import json

import pytest

from runstead.bench import BenchError, RaceOptions, render_race
from runstead.bench.race import race


def options(deployment, key, **changes):
    return RaceOptions(
        **{"urls": (deployment.url,), "key": key, "project": "demo", "runs": 6, "callers": 9, **changes}
    )


async def test_a_correct_deployment_passes_and_each_outcome_wins_in_turn(deployment, key):
    report = await race(options(deployment, key))
    assert report.exactly_once
    assert report.violations == []
    assert sum(report.winners.values()) == 6
    assert set(report.winners) == {"completed", "failed", "cancelled"}
    assert "every run finished exactly once" in render_race(report)


async def test_every_caller_races_on_a_connection_of_its_own(deployment, key):
    await race(options(deployment, key))
    assert deployment.connections == 9 + 1
    finishing = [path for _, path, _, _ in deployment.requests if path.endswith(("/complete", "/cancel"))]
    assert len(finishing) == 6 * 9
    assert sum(path.endswith("/cancel") for path in finishing) == 6 * 3


async def test_callers_are_spread_over_the_replicas_and_the_last_one_is_read_later(deployment, key, serve):
    async def other(reader, writer):
        others.append(writer)
        await deployment.handle(reader, writer)

    others = []
    urls = (deployment.url, await serve(other))
    report = await race(options(deployment, key, urls=urls))
    assert report.exactly_once
    assert report.url == ", ".join(urls)
    assert (len(others), deployment.connections) == (4 + 1, 9 + 2)
    with pytest.raises(BenchError, match="at least one url"):
        await race(options(deployment, key, urls=()))


async def test_half_of_the_runs_are_running_with_events_before_the_race(deployment, key):
    await race(options(deployment, key))
    lengths = sorted(len(events) for events in deployment.events.values())
    assert lengths == [1, 1, 1, 4, 4, 4]


@pytest.mark.parametrize(
    ("fault", "disagreement"),
    [
        ("two winners", "was answered completed: true, but the run is"),
        ("the last one wins", "was shown completed_at"),
        ("every cancel is true", "answered cancelled: true"),
        ("the winner's repeat is false", "was answered completed: false, but the run is"),
        ("a loser is shown a stale run", 'was shown status "running"'),
        ("a loser gets a 500", "was answered 500: Internal error"),
        ("a loser drops the connection", "got no answer: connection dropped"),
        ("two terminal events", "terminal events instead of one"),
        ("no terminal event", "0 terminal events instead of one"),
        ("the wrong terminal event", "but its terminal event is"),
        ("an event after the terminal one", "is not the last one"),
        ("no caller wrote it", "was written by no such call"),
        ("a later read differs", "read again later, metadata is"),
        ("an event comes later", "events that differ from"),
    ],
)
async def test_a_broken_deployment_is_detected(deployment, key, fault, disagreement):
    deployment.fault = fault
    report = await race(options(deployment, key))
    assert not report.exactly_once
    found = [sentence for violation in report.violations for sentence in violation.disagreements]
    assert any(disagreement in sentence for sentence in found), found
    text = render_race(report)
    assert report.violations[0].run_id in text
    assert f"{len(report.violations)} run(s) not finished exactly once" in text


async def test_the_json_report_names_each_run_and_what_disagreed(deployment, key):
    deployment.fault = "two terminal events"
    report = await race(options(deployment, key, runs=2))
    decoded = json.loads(render_race(report, json=True))
    assert decoded["runs"] == 2
    assert [each["started_as"] for each in decoded["violations"]] == ["pending", "running"]
    assert all(each["disagreements"] for each in decoded["violations"])


async def test_a_refused_key_or_an_unknown_project_is_reported(deployment, key):
    with pytest.raises(BenchError, match=r"answered 401: Unknown credential \(UNAUTHENTICATED\)"):
        await race(options(deployment, "vf_other_key"))
    with pytest.raises(BenchError, match="/projects/nowhere answered 404"):
        await race(options(deployment, key, project="nowhere"))
    with pytest.raises(BenchError, match="at least 1 run and 2 callers"):
        await race(options(deployment, key, callers=1))
