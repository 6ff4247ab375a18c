"""find and page: runs by id across projects, and lists with filters, order and continuation."""

import asyncio
import random

import pytest

from runstead.ports.store import RunQuery

FIRST, SECOND = "p-1", "p-2"


async def ids(desk, project_ids=(FIRST,), **filters):
    return [run.run_id for run in await desk.runs.page(RunQuery(tuple(project_ids), **filters))]


async def fill(desk, *runs):
    """Each run's own fields; all in the first project."""
    for run_id, fields in runs:
        await desk.create(run_id, **({"project_id": FIRST} | fields))


async def test_find_gives_the_run_of_each_project_that_is_asked(desk):
    for project_id in (FIRST, SECOND, "p-3"):
        await desk.create("run-1", project_id=project_id)
    assert [run.project_id for run in await desk.runs.find("run-1", [SECOND])] == [SECOND]
    assert {run.project_id for run in await desk.runs.find("run-1", [FIRST, SECOND])} == {FIRST, SECOND}


async def test_find_gives_two_at_most(desk):
    for project_id in (FIRST, SECOND, "p-3"):
        await desk.create("run-1", project_id=project_id)
    assert len(await desk.runs.find("run-1", [FIRST, SECOND, "p-3"])) == 2


async def test_find_never_looks_into_other_projects(desk):
    await desk.create("run-1", project_id=FIRST)
    assert await desk.runs.find("run-1", [SECOND]) == []
    assert await desk.runs.find("run-1", []) == []
    assert await desk.runs.find("run-2", [FIRST]) == []


async def test_find_copes_with_a_project_named_twice_and_with_thousands(desk):
    run = await desk.create("run-1", project_id=FIRST)
    many = [f"other-{n}" for n in range(5_000)]
    assert await desk.runs.find("run-1", [FIRST, *many, FIRST]) == [run]


async def test_a_page_is_newest_first(desk):
    await fill(desk, *((f"run-{n}", {}) for n in range(5)))
    assert await ids(desk) == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert await ids(desk, limit=2) == ["run-4", "run-3"]


async def test_a_page_gives_whole_rows(desk):
    run = await desk.create("run-1", project_id=FIRST, output=b'"' + b"x" * 200_000 + b'"', logs="l")
    assert await desk.runs.page(RunQuery((FIRST,))) == [run]


async def test_a_page_spans_the_projects_asked_for_and_no_other(desk):
    for n, project_id in enumerate((FIRST, SECOND, "p-3", FIRST)):
        await desk.create(f"run-{n}", project_id=project_id)
    assert await ids(desk, (FIRST, SECOND)) == ["run-3", "run-1", "run-0"]
    assert await ids(desk, ()) == []
    assert await ids(desk, ("nobody",)) == []


async def test_a_page_keeps_to_the_bounds_on_the_seq(desk):
    await fill(desk, *((f"run-{n}", {}) for n in range(5)))
    seqs = {run.run_id: run.seq for run in await desk.runs.page(RunQuery((FIRST,)))}
    assert await ids(desk, seq_over=seqs["run-1"]) == ["run-4", "run-3", "run-2"]
    assert await ids(desk, seq_under=seqs["run-3"]) == ["run-2", "run-1", "run-0"]
    assert await ids(desk, seq_over=seqs["run-1"], seq_under=seqs["run-3"]) == ["run-2"]
    both = {"seq_over": seqs["run-0"], "seq_under": seqs["run-4"]}
    assert await ids(desk, (FIRST, SECOND), **both) == ["run-3", "run-2", "run-1"]
    assert await ids(desk, **both, before=(None, seqs["run-3"])) == ["run-2", "run-1"]
    assert await ids(desk, **both, statuses=("pending", "running")) == ["run-3", "run-2", "run-1"]


async def test_pages_of_several_states_go_on_in_one_order(desk):
    for n in range(6):
        await desk.create(f"run-{n}")
    for run_id in ("run-1", "run-4"):
        await desk.complete(run_id, "failed")
    project = ((await desk.row("run-1")).project_id,)
    states = ("failed", "pending", "waiting")
    found = await desk.runs.page(RunQuery(project, states, limit=4))
    assert [run.run_id for run in found] == ["run-5", "run-4", "run-3", "run-2"]
    assert await ids(desk, project, statuses=states, before=(None, found[-1].seq)) == ["run-1", "run-0"]


async def test_pages_filter_by_status(desk):
    for run_id in ("done", "broken", "idle"):
        await desk.create(run_id)
    await desk.complete("done")
    await desk.complete("broken", "failed")
    project = (await desk.row("done")).project_id
    assert await ids(desk, (project,), statuses=("completed",)) == ["done"]
    assert await ids(desk, (project,), statuses=("pending", "failed")) == ["idle", "broken"]
    assert await ids(desk, (project,), statuses=("completed", "pending")) == ["idle", "done"]
    assert await ids(desk, (project,), statuses=("waiting",)) == []


SIMPLE = [
    ("kinds", "kind", ("eval",), "eval", "task"),
    ("targets", "target", ("task:a", "task:b"), "task:b", "task:c"),
    ("batch_id", "batch_id", "b-1", "b-1", "b-2"),
    ("schedule_id", "schedule_id", "s-1", "s-1", None),
]


@pytest.mark.parametrize(("name", "field", "wanted", "match", "other"), SIMPLE)
async def test_pages_filter_by(desk, name, field, wanted, match, other):
    await fill(desk, ("other", {field: other}), ("match", {field: match}), ("plain", {}))
    assert await ids(desk, **{name: wanted}) == ["match"]


async def test_pages_filter_by_family(desk):
    await fill(desk, ("root", {}), ("alone", {}))
    await desk.create("child", project_id=FIRST, parent="root")
    await desk.create("leaf", project_id=FIRST, parent="child")
    assert await ids(desk, root_only=True) == ["alone", "root"]
    assert await ids(desk, parent_run_id="root") == ["child"]
    assert await ids(desk, parent_run_id="leaf") == []


async def test_pages_filter_by_labels_all_of_which_must_hold(desk):
    await fill(
        desk,
        ("both", {"labels": b'{"env":"prod","team":"red"}'}),
        ("one", {"labels": b'{"env":"prod"}'}),
        ("other", {"labels": b'{"env":"test","team":"red"}'}),
        ("none", {}),
    )
    assert await ids(desk, labels=(("env", "prod"),)) == ["one", "both"]
    assert await ids(desk, labels=(("env", "prod"), ("team", "red"))) == ["both"]
    assert await ids(desk, labels=(("env", "red"),)) == []


async def test_labels_with_awkward_names_are_found(desk):
    await fill(desk, ("awkward", {"labels": '{"a.b\\"c":"é","$[0]":"x"}'.encode()}))
    assert await ids(desk, labels=(('a.b"c', "é"), ("$[0]", "x"))) == ["awkward"]


async def test_pages_filter_by_creation_time(desk, clock):
    begin = clock.now
    for n in range(4):
        await desk.create(f"run-{n}", project_id=FIRST)
        clock.advance(10)
    assert await ids(desk, created_after=begin + 15) == ["run-3", "run-2"]
    assert await ids(desk, created_before=begin + 15) == ["run-1", "run-0"]
    assert await ids(desk, created_after=begin + 5, created_before=begin + 25) == ["run-2", "run-1"]
    assert await ids(desk, created_after=begin, created_before=begin + 20) == ["run-1"]


async def test_pages_filter_by_text_in_id_title_or_target_ignoring_case(desk):
    await fill(
        desk,
        ("Report-1", {}),
        ("run-2", {"title": "The quarterly REPORT"}),
        ("run-3", {"target": "task:report.daily"}),
        ("run-4", {"title": "else", "logs": "report", "input": b'"report"'}),
    )
    assert await ids(desk, text="rePort") == ["run-3", "run-2", "Report-1"]
    assert await ids(desk, text="nowhere") == []


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "100%_\\"])
async def test_text_is_taken_literally(desk, text):
    await fill(desk, ("plain", {"title": "100 per cent"}), ("match", {"title": f"x{text}x"}))
    assert await ids(desk, text=text) == ["match"]


async def test_filters_are_joined_by_and(desk):
    await fill(
        desk,
        ("match", {"kind": "eval", "batch_id": "b-1", "title": "x"}),
        ("no-kind", {"batch_id": "b-1", "title": "x"}),
        ("no-batch", {"kind": "eval", "title": "x"}),
        ("no-title", {"kind": "eval", "batch_id": "b-1"}),
    )
    assert await ids(desk, kinds=("eval",), batch_id="b-1", text="x") == ["match"]


async def test_pages_continue_without_loss_or_repetition(desk):
    await asyncio.gather(*(desk.create(project_id=(FIRST, SECOND)[n % 2]) for n in range(250)))
    read, before = [], None
    while page := await desk.runs.page(RunQuery((FIRST, SECOND), before=before, limit=17)):
        read += page
        before = (None, page[-1].seq)
        if len(read) == 17 * 3:
            await desk.create(project_id=FIRST)  # a newcomer does not shift what follows
    assert len(read) == 250
    assert [run.seq for run in read] == sorted({run.seq for run in read}, reverse=True)


async def test_filtered_pages_continue_too(desk):
    await asyncio.gather(*(desk.create(project_id=FIRST, kind=("task", "eval")[n % 2]) for n in range(60)))
    read, before = [], None
    while page := await desk.runs.page(RunQuery((FIRST,), kinds=("eval",), before=before, limit=7)):
        read += page
        before = (None, page[-1].seq)
    assert len({run.seq for run in read}) == len(read) == 30


async def finished(desk, clock, durations):
    for n, duration in enumerate(durations):
        await desk.create(f"run-{n}", status="running")
        clock.advance(duration)
        await desk.complete(f"run-{n}")


async def test_a_page_can_be_longest_first(desk, clock):
    await finished(desk, clock, [30, 10, 20])
    await desk.create("open")
    page = await desk.runs.page(RunQuery(((await desk.row("open")).project_id,), sort="duration"))
    assert [(run.run_id, run.duration_ms) for run in page] == [("run-0", 30), ("run-2", 20), ("run-1", 10)]


async def test_pages_by_duration_continue_without_loss_or_repetition(desk, clock):
    durations = random.Random(7).choices(range(6), k=60)
    await finished(desk, clock, durations)
    project = (await desk.row("run-0")).project_id
    read, before = [], None
    while page := await desk.runs.page(RunQuery((project,), sort="duration", before=before, limit=7)):
        read += page
        before = (page[-1].duration_ms, page[-1].seq)
    assert [run.duration_ms for run in read] == sorted(durations, reverse=True)
    assert len({run.seq for run in read}) == 60
