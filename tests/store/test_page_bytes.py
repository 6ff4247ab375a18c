"""Pages of runs end by bytes: no value behind the end of a page is read, no run is lost or repeated."""

import random
import tracemalloc

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import OMITTABLE, large_bytes
from runstead.ports.store import RunQuery, SeqPage
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
    size = sum(map(large_bytes, page.runs))
    assert size <= bytes_max or len(page.runs) == 1
    if page.more and following is not None:
        assert size + large_bytes(following) > bytes_max


@pytest.mark.parametrize("bytes_max", [1, 40_000, 100_000, 400_000])
@pytest.mark.parametrize("query", [{}, {"statuses": ("completed",)}, {"sort": "duration"}, {"text": "run-1"}])
async def test_a_list_visits_every_run_once_whatever_the_sizes(driver, bytes_max, query):
    await shelf(driver)
    asked = RunQuery((PROJECT,), limit=1_000, **query)
    whole = (await driver.runs.page(asked)).runs
    assert len(whole) > 5
    found, before = [], None
    while True:
        page = await driver.runs.page(replace(asked, before=before, bytes_max=bytes_max))
        found += page.runs
        check_bytes(page, bytes_max, whole[len(found)] if len(found) < len(whole) else None)
        if not page.more:
            break
        last = page.runs[-1]
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
        whole = (await read(SeqPage(1_000))).runs
        assert len(whole) > 1, name
        found, page = [], await read(SeqPage(1_000, bytes_max=bytes_max))
        while True:
            found += page.runs
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
            for run in (await driver.runs.page(replace(asked, omit=frozenset()))).runs
        ]
        assert (await driver.runs.page(asked)).runs == expected
        root = expected[-1]
        family = (await driver.runs.family(root.seq, SeqPage(1_000, omit=omit))).runs
        assert family == expected[::-1]
    page = await driver.runs.page(RunQuery((PROJECT,), limit=1_000, omit=OMITTABLE, bytes_max=1))
    assert (len(page.runs), page.more) == (40, False)


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
            assert page.runs
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * limits.MIB
