"""Pages of runs end by bytes: no value behind the end of a page is read, no run is lost or repeated."""

import random
import tracemalloc

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.batches.batch import Batch
from runstead.core.conversations.conversation import Conversation
from runstead.core.identity.project import Project
from runstead.core.queue.worker import Worker
from runstead.core.runs.run import OMITTABLE, large_bytes
from runstead.ports.store import BatchQuery, ConversationQuery, RunQuery, SeqPage
from tests.support.store_driver import PROJECT

SIZES = (0, 10, 900, 5_000, 30_000, 70_000)


def value(size):
    return msgspec.json.encode("x" * size)


async def shelf(driver, count=40, seed=1):
    """A root with children and grandchildren, whose values have mixed sizes."""
    dice = random.Random(seed)
    await driver.create("run-0")
    for number in range(1, count):
        parent = "run-0" if number < count // 2 else f"run-{dice.randrange(1, count // 2)}"
        values = {"input": value(dice.choice(SIZES)), "config": value(dice.choice(SIZES))}
        await driver.create(f"run-{number}", parent=parent, **values)
        if number % 3 == 0:
            await driver.complete(f"run-{number}", output=value(dice.choice(SIZES)), logs="é" * 1_000)
    return [await driver.row(f"run-{number}") for number in range(count)]


def check_bytes(page, bytes_max, following):
    """The page is within its bound, and the run that follows would not have fit."""
    size = sum(map(large_bytes, page.rows))
    assert size <= bytes_max or len(page.rows) == 1
    if page.more and following is not None:
        assert size + large_bytes(following) > bytes_max


@pytest.mark.parametrize("bytes_max", [1, 40_000, 100_000, 400_000])
@pytest.mark.parametrize("query", [{}, {"statuses": ("completed",)}, {"sort": "duration"}, {"text": "run-1"}])
async def test_a_list_visits_every_run_once_whatever_the_sizes(driver, bytes_max, query):
    await shelf(driver)
    asked = RunQuery((PROJECT,), limit=1_000, **query)
    whole = (await driver.runs.page(asked)).rows
    assert len(whole) > 5
    found, before = [], None
    while True:
        page = await driver.runs.page(replace(asked, before=before, bytes_max=bytes_max))
        found += page.rows
        check_bytes(page, bytes_max, whole[len(found)] if len(found) < len(whole) else None)
        if not page.more:
            break
        last = page.rows[-1]
        before = (last.duration_ms if asked.sort == "duration" else None, last.seq)
    assert found == whole


@pytest.mark.parametrize("bytes_max", [1, 100_000, 400_000])
async def test_children_and_families_visit_every_run_once_whatever_the_sizes(driver, bytes_max):
    runs = await shelf(driver)
    root, child = runs[0], runs[1]
    reads = {
        "children": lambda page: driver.runs.children(root.seq, page),
        "family": lambda page: driver.runs.family(root.seq, page),
        "subtree": lambda page: driver.runs.family(root.seq, page, child.seq),
    }
    for name, read in reads.items():
        whole = (await read(SeqPage(1_000))).rows
        assert len(whole) > 1, name
        found, page = [], await read(SeqPage(1_000, bytes_max=bytes_max))
        while True:
            found += page.rows
            check_bytes(page, bytes_max, whole[len(found)] if len(found) < len(whole) else None)
            if not page.more:
                break
            page = await read(SeqPage(1_000, found[-1].seq, bytes_max=bytes_max))
        assert found == whole, name


async def test_fields_that_are_left_out_are_not_read_and_do_not_count(driver):
    await shelf(driver)
    for omit in (OMITTABLE, frozenset({"input", "logs"})):
        asked = RunQuery((PROJECT,), limit=1_000, omit=omit)
        expected = [
            replace(run, **dict.fromkeys(omit))
            for run in (await driver.runs.page(replace(asked, omit=frozenset()))).rows
        ]
        assert (await driver.runs.page(asked)).rows == expected
        root = expected[-1]
        family = (await driver.runs.family(root.seq, SeqPage(1_000, omit=omit))).rows
        assert family == expected[::-1]
    page = await driver.runs.page(RunQuery((PROJECT,), limit=1_000, omit=OMITTABLE, bytes_max=1))
    assert (len(page.rows), page.more) == (40, False)


@pytest.mark.parametrize("size", [1_000_000, 200_000])
async def test_a_page_of_large_inputs_takes_little_memory(driver, size):
    """Zeros take no space in the store: only their length when read counts."""
    await driver.create("root")
    for number in range(60):
        await driver.create(f"run-{number}", parent="root", input=value(size))
    root = await driver.row("root")
    reads = [
        lambda: driver.runs.page(RunQuery((PROJECT,), limit=100, bytes_max=limits.list_page_bytes_max)),
        lambda: driver.runs.page(
            RunQuery((PROJECT,), limit=100, text="run", bytes_max=limits.list_page_bytes_max)
        ),
        lambda: driver.runs.children(root.seq, SeqPage(1_000, bytes_max=limits.list_page_bytes_max)),
        lambda: driver.runs.family(root.seq, SeqPage(10_000, bytes_max=limits.list_page_bytes_max)),
        lambda: driver.runs.family(root.seq, SeqPage(10_000, omit=OMITTABLE)),
    ]
    for read in reads:
        await read()  # what is kept between reads
        tracemalloc.start()
        try:
            page = await read()
            assert page.rows
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * limits.MIB


async def nouns(driver):
    """Conversations, input requests, batches and workers with large values; a function that lists each."""
    store = driver.store
    await store.identity.create_project(Project(PROJECT, "p", "P", 1), None, None)
    text = value(250_000)
    for number in range(12):
        await store.conversations.create(Conversation(f"c-{number}", PROJECT, "chat", 1, 1, metadata=text))
        await store.batches.create(Batch(f"b-{number}", PROJECT, 0, on_complete=text), [])
        worker = Worker(f"w-{number}", PROJECT, "python", f"k-{number:02}", 1, 1, metadata=text)
        await store.workers.register(worker, b"%d" % number)
    for number in range(12):
        await driver.create(f"run-{number}", kind="agent", conversation_id="c-1")
        await driver.ask(f"run-{number}", f"i-{number}", metadata=text)
    return {
        "conversations": (
            lambda at: store.conversations.page(ConversationQuery((PROJECT,), None, at, 100)),
            None,
        ),
        "batches": (lambda at: store.batches.page(BatchQuery(PROJECT, 100, at)), None),
        "input requests": (lambda at: store.inputs.page("c-1", None, at, 100), None),
        "workers": (
            lambda at: store.workers.page(PROJECT, at, 100),
            lambda worker: (worker.implementation_kind, worker.worker_key),
        ),
    }


async def test_lists_of_other_rows_end_by_bytes_too(driver):
    for name, (read, cursor) in (await nouns(driver)).items():
        found, at, pages = [], None, 0
        await read(None)
        while True:
            tracemalloc.start()
            page = await read(at)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            pages += 1
            found += [one.id for one in page.rows]
            assert peak < 6 * limits.MIB, name
            if not page.more:
                break
            last = page.rows[-1]
            at = last.seq if cursor is None else cursor(last)
        assert len(found) == len(set(found)) == 12, name
        assert pages == 3, name
