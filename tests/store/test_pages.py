"""find and page: runs by id across projects, and lists with filters, order and continuation."""

import asyncio
import random

import pytest

from runstead.ports.store import RunQuery

FIRST, SECOND = "p-1", "p-2"


async def ids(driver, project_ids=(FIRST,), **filters):
    return [run.run_id for run in (await driver.runs.page(RunQuery(tuple(project_ids), **filters))).rows]


async def fill(driver, *runs):
    """Each run's own fields; all in the first project."""
    for run_id, fields in runs:
        await driver.create(run_id, **({"project_id": FIRST} | fields))


async def test_find_gives_the_run_of_each_project_that_is_asked(driver):
    for project_id in (FIRST, SECOND, "p-3"):
        await driver.create("run-1", project_id=project_id)
    assert [run.project_id for run in await driver.runs.find("run-1", [SECOND])] == [SECOND]
    assert {run.project_id for run in await driver.runs.find("run-1", [FIRST, SECOND])} == {FIRST, SECOND}


async def test_find_gives_two_at_most(driver):
    for project_id in (FIRST, SECOND, "p-3"):
        await driver.create("run-1", project_id=project_id)
    assert len(await driver.runs.find("run-1", [FIRST, SECOND, "p-3"])) == 2


async def test_find_never_reads_other_projects(driver):
    await driver.create("run-1", project_id=FIRST)
    assert await driver.runs.find("run-1", [SECOND]) == []
    assert await driver.runs.find("run-1", []) == []
    assert await driver.runs.find("run-2", [FIRST]) == []


async def test_find_copes_with_a_project_named_twice_and_with_thousands(driver):
    run = await driver.create("run-1", project_id=FIRST)
    many = [f"other-{n}" for n in range(5_000)]
    assert await driver.runs.find("run-1", [FIRST, *many, FIRST]) == [run]


async def test_a_page_is_newest_first(driver):
    await fill(driver, *((f"run-{n}", {}) for n in range(5)))
    assert await ids(driver) == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert await ids(driver, limit=2) == ["run-4", "run-3"]


async def test_a_page_gives_whole_rows(driver):
    run = await driver.create("run-1", project_id=FIRST, output=b'"' + b"x" * 200_000 + b'"', logs="l")
    assert (await driver.runs.page(RunQuery((FIRST,)))).rows == [run]


async def test_a_page_spans_the_projects_asked_for_and_no_other(driver):
    for n, project_id in enumerate((FIRST, SECOND, "p-3", FIRST)):
        await driver.create(f"run-{n}", project_id=project_id)
    assert await ids(driver, (FIRST, SECOND)) == ["run-3", "run-1", "run-0"]
    assert await ids(driver, ()) == []
    assert await ids(driver, ("unknown",)) == []


async def test_a_page_keeps_to_the_bounds_on_the_seq(driver):
    await fill(driver, *((f"run-{n}", {}) for n in range(5)))
    seqs = {run.run_id: run.seq for run in (await driver.runs.page(RunQuery((FIRST,)))).rows}
    assert await ids(driver, seq_over=seqs["run-1"]) == ["run-4", "run-3", "run-2"]
    assert await ids(driver, seq_under=seqs["run-3"]) == ["run-2", "run-1", "run-0"]
    assert await ids(driver, seq_over=seqs["run-1"], seq_under=seqs["run-3"]) == ["run-2"]
    both = {"seq_over": seqs["run-0"], "seq_under": seqs["run-4"]}
    assert await ids(driver, (FIRST, SECOND), **both) == ["run-3", "run-2", "run-1"]
    assert await ids(driver, **both, before=(None, seqs["run-3"])) == ["run-2", "run-1"]
    assert await ids(driver, **both, statuses=("pending", "running")) == ["run-3", "run-2", "run-1"]


async def test_pages_of_several_states_go_on_in_one_order(driver):
    for n in range(6):
        await driver.create(f"run-{n}")
    for run_id in ("run-1", "run-4"):
        await driver.complete(run_id, "failed")
    project = ((await driver.row("run-1")).project_id,)
    states = ("failed", "pending", "waiting")
    found = (await driver.runs.page(RunQuery(project, states, limit=4))).rows
    assert [run.run_id for run in found] == ["run-5", "run-4", "run-3", "run-2"]
    assert await ids(driver, project, statuses=states, before=(None, found[-1].seq)) == ["run-1", "run-0"]


async def test_pages_filter_by_status(driver):
    for run_id in ("done", "broken", "idle"):
        await driver.create(run_id)
    await driver.complete("done")
    await driver.complete("broken", "failed")
    project = (await driver.row("done")).project_id
    assert await ids(driver, (project,), statuses=("completed",)) == ["done"]
    assert await ids(driver, (project,), statuses=("pending", "failed")) == ["idle", "broken"]
    assert await ids(driver, (project,), statuses=("completed", "pending")) == ["idle", "done"]
    assert await ids(driver, (project,), statuses=("waiting",)) == []


SIMPLE = [
    ("kinds", "kind", ("eval",), "eval", "task"),
    ("targets", "target", ("task:a", "task:b"), "task:b", "task:c"),
    ("batch_id", "batch_id", "b-1", "b-1", "b-2"),
    ("schedule_id", "schedule_id", "s-1", "s-1", None),
]


@pytest.mark.parametrize(("name", "field", "wanted", "match", "other"), SIMPLE)
async def test_pages_filter_by(driver, name, field, wanted, match, other):
    await fill(driver, ("other", {field: other}), ("match", {field: match}), ("plain", {}))
    assert await ids(driver, **{name: wanted}) == ["match"]


async def test_pages_filter_by_family(driver):
    await fill(driver, ("root", {}), ("alone", {}))
    await driver.create("child", project_id=FIRST, parent="root")
    await driver.create("leaf", project_id=FIRST, parent="child")
    assert await ids(driver, root_only=True) == ["alone", "root"]
    assert await ids(driver, parent_run_id="root") == ["child"]
    assert await ids(driver, parent_run_id="leaf") == []


async def test_pages_filter_by_labels_all_of_which_must_hold(driver):
    await fill(
        driver,
        ("both", {"labels": b'{"env":"prod","team":"red"}'}),
        ("one", {"labels": b'{"env":"prod"}'}),
        ("other", {"labels": b'{"env":"test","team":"red"}'}),
        ("none", {}),
    )
    assert await ids(driver, labels=(("env", "prod"),)) == ["one", "both"]
    assert await ids(driver, labels=(("env", "prod"), ("team", "red"))) == ["both"]
    assert await ids(driver, labels=(("env", "red"),)) == []


async def test_labels_with_awkward_names_are_found(driver):
    await fill(driver, ("awkward", {"labels": '{"a.b\\"c":"é","$[0]":"x"}'.encode()}))
    assert await ids(driver, labels=(('a.b"c', "é"), ("$[0]", "x"))) == ["awkward"]


async def test_pages_filter_by_creation_time(driver, clock):
    begin = clock.now
    for n in range(4):
        await driver.create(f"run-{n}", project_id=FIRST)
        clock.advance_ms(10)
    assert await ids(driver, created_after=begin + 15) == ["run-3", "run-2"]
    assert await ids(driver, created_before=begin + 15) == ["run-1", "run-0"]
    assert await ids(driver, created_after=begin + 5, created_before=begin + 25) == ["run-2", "run-1"]
    assert await ids(driver, created_after=begin, created_before=begin + 20) == ["run-1"]


async def test_pages_filter_by_text_in_id_title_or_target_ignoring_case(driver):
    await fill(
        driver,
        ("Report-1", {}),
        ("run-2", {"title": "The quarterly REPORT"}),
        ("run-3", {"target": "task:report.daily"}),
        ("run-4", {"title": "else", "logs": "report", "input": b'"report"'}),
    )
    assert await ids(driver, text="rePort") == ["run-3", "run-2", "Report-1"]
    assert await ids(driver, text="nowhere") == []


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "100%_\\"])
async def test_text_is_taken_literally(driver, text):
    await fill(driver, ("plain", {"title": "100 per cent"}), ("match", {"title": f"x{text}x"}))
    assert await ids(driver, text=text) == ["match"]


async def test_filters_are_joined_by_and(driver):
    await fill(
        driver,
        ("match", {"kind": "eval", "batch_id": "b-1", "title": "x"}),
        ("no-kind", {"batch_id": "b-1", "title": "x"}),
        ("no-batch", {"kind": "eval", "title": "x"}),
        ("no-title", {"kind": "eval", "batch_id": "b-1"}),
    )
    assert await ids(driver, kinds=("eval",), batch_id="b-1", text="x") == ["match"]


async def test_pages_continue_without_loss_or_repetition(driver):
    await asyncio.gather(*(driver.create(project_id=(FIRST, SECOND)[n % 2]) for n in range(250)))
    read, before = [], None
    while page := (await driver.runs.page(RunQuery((FIRST, SECOND), before=before, limit=17))).rows:
        read += page
        before = (None, page[-1].seq)
        if len(read) == 17 * 3:
            await driver.create(project_id=FIRST)  # a newcomer does not shift what follows
    assert len(read) == 250
    assert [run.seq for run in read] == sorted({run.seq for run in read}, reverse=True)


async def test_filtered_pages_continue_too(driver):
    await asyncio.gather(*(driver.create(project_id=FIRST, kind=("task", "eval")[n % 2]) for n in range(60)))
    read, before = [], None
    while page := (await driver.runs.page(RunQuery((FIRST,), kinds=("eval",), before=before, limit=7))).rows:
        read += page
        before = (None, page[-1].seq)
    assert len({run.seq for run in read}) == len(read) == 30


async def finished(driver, clock, durations):
    for n, duration in enumerate(durations):
        await driver.create(f"run-{n}", status="running")
        clock.advance_ms(duration)
        await driver.complete(f"run-{n}")


async def test_a_page_can_be_longest_first(driver, clock):
    await finished(driver, clock, [30, 10, 20])
    await driver.create("open")
    page = (await driver.runs.page(RunQuery(((await driver.row("open")).project_id,), sort="duration"))).rows
    assert [(run.run_id, run.duration_ms) for run in page] == [("run-0", 30), ("run-2", 20), ("run-1", 10)]


async def test_pages_by_duration_continue_without_loss_or_repetition(driver, clock):
    durations = random.Random(7).choices(range(6), k=60)
    await finished(driver, clock, durations)
    project = (await driver.row("run-0")).project_id
    read, before = [], None
    while page := (
        await driver.runs.page(RunQuery((project,), sort="duration", before=before, limit=7))
    ).rows:
        read += page
        before = (page[-1].duration_ms, page[-1].seq)
    assert [run.duration_ms for run in read] == sorted(durations, reverse=True)
    assert len({run.seq for run in read}) == 60
