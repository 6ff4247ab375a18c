"""Schedules that the code of an app defines."""

import asyncio
from datetime import UTC, datetime

import pytest

from runstead.sdk import App, RunsteadError, Worker
from runstead.testing import BlockingTestbed, Testbed


def shop(name="shop", **crons):
    """Return an app with a task for each name, and its schedule."""
    app = App(name)
    for task, options in crons.items():

        async def handle(ctx, day="any"):
            return day

        app.task(task, **options)(handle)
    return app


NIGHTLY = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "config": {"day": "each"}}


async def listed(bed):
    found = (await bed.client.schedules.list()).schedules
    return {one.source_trigger_id: one for one in found if one.status != "deleting"}


def test_a_schedule_of_the_code_fires_at_its_time_in_its_time_zone():
    with BlockingTestbed(shop(invoice=NIGHTLY, other={})) as bed:
        bed.advance(days=2)
        runs = list(bed.client.runs.iter())
        assert [(run.target, run.status, run.output) for run in runs] == [
            ("task:invoice", "completed", "each")
        ] * 2
        assert runs[0].scheduled_at == datetime(2026, 1, 3, 1, 30, tzinfo=UTC)  # 02:30 in Berlin
        assert runs[0].trigger_kind == "schedule"


async def test_a_deployment_updates_its_schedules_removes_those_that_left_and_touches_no_other():
    async with Testbed(shop(invoice=NIGHTLY, report=NIGHTLY)) as bed:
        await bed.settle()
        by_hand = (
            await bed.client.schedules.create("By hand", {"kind": "task", "id": "report"}, "0 5 * * *")
        ).schedule
        first = await listed(bed)
        assert set(first) == {"task:invoice", "task:report", None}
        assert first["task:invoice"].source_path == "app:shop"
        await bed.deploy(shop("stock", count=NIGHTLY))
        assert set(await listed(bed)) == {"task:invoice", "task:report", "task:count", None}
        await bed.deploy(shop(invoice=NIGHTLY | {"cron": "0 4 * * *"}, report={}))
        now = await listed(bed)
        assert set(now) == {"task:invoice", "task:count", None}
        assert (now["task:invoice"].id, now["task:invoice"].schedule) == (
            first["task:invoice"].id,
            "0 4 * * *",
        )
        assert now[None] == by_hand
        await bed.deploy(shop())
        assert set(await listed(bed)) == {"task:count", None}


async def test_two_workers_of_an_app_start_at_once():
    app = shop(invoice=NIGHTLY)
    async with Testbed(app) as bed:
        workers = [
            Worker(bed.client, app, targets=app.targets, worker_key=key, clock=bed.clock.seconds)
            for key in ("a", "b")
        ]
        await asyncio.gather(*(worker.run_until_idle() for worker in workers))
        assert set(await listed(bed)) == {"task:invoice"}


async def test_a_pause_by_a_person_outlasts_the_start_of_a_worker():
    async with Testbed(shop(invoice=NIGHTLY)) as bed:
        await bed.settle()
        one = (await listed(bed))["task:invoice"]
        await bed.client.schedules.pause(one.id, "Stock-taking")
        await bed.deploy(shop(invoice=NIGHTLY))
        assert (await listed(bed))["task:invoice"].status == "paused"


async def test_an_app_without_a_name_and_schedules_sends_nothing_and_one_with_schedules_has_a_name():
    async with Testbed(shop(None, invoice=NIGHTLY)) as bed:
        await bed.settle()
        assert (await listed(bed))["task:invoice"].source_path == "app:app"
        await bed.deploy(shop(None, other={}))
        assert set(await listed(bed)) == {"task:invoice"}


async def test_a_worker_whose_schedules_are_refused_does_not_start():
    async with Testbed(App()) as bed:
        app = shop("x" * 300, invoice=NIGHTLY)
        worker = Worker(bed.client, app, targets=app.targets)
        with pytest.raises(RunsteadError, match=r"\$\.app"):
            await worker.serve()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cron": "30 2 * *"}, 'cron has five fields, .* as in "30 2 \\* \\* \\*", not 4'),
        ({"cron": "@daily"}, "cron has five fields"),
        ({"cron": "61 2 * * *"}, "cron '61 2 \\* \\* \\*' names no time"),
        ({"cron": "0 0 L * *"}, "The field 'L' of cron"),
        ({"cron": "0 0 * * *", "time_zone": "Europe/Berln"}, "'Europe/Berln' is not an IANA time zone"),
        ({"cron": "0 0 * * *", "time_zone": ""}, "is not an IANA time zone"),
        ({"time_zone": "UTC"}, "time_zone needs cron"),
        ({"cron": "0 0 * * *"}, "The schedule of task:t would fail: t needs 'day'"),
        (
            {"cron": "0 0 * * *", "config": {"day": 1}},
            "The schedule of task:t would fail: The argument 'day'",
        ),
        ({"cron": "0 0 * * *", "config": {"day": object()}}, "is not a JSON object"),
        ({"cron": "0 0 * * *", "config": ["monday"]}, "is not a JSON object"),
    ],
)
def test_a_schedule_that_cannot_be_right_is_refused_where_it_is_written(options, sentence):
    async def t(ctx, day: str):
        """Take one argument."""

    with pytest.raises(ValueError, match=sentence):
        App().task("t", **options)(t)


def test_an_agent_has_no_schedule():
    with pytest.raises(ValueError, match="cron starts tasks and workflows"):
        App().agent("a", cron="0 0 * * *")(asyncio.sleep)
