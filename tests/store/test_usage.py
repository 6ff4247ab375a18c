"""What a family's completions reported, summed up by every engine alike."""

import msgspec
import pytest

from runstead.core import limits


async def ended(driver, run_id, parent=None, **metadata):
    await driver.create(run_id, parent=parent)
    encoded = msgspec.json.encode(metadata) if metadata else None
    await driver.complete(run_id, metadata=encoded)


@pytest.fixture
async def family(driver):
    """root ─ a ─ a1, root ─ b; b has not ended."""
    await driver.create("root")
    await ended(driver, "a", "root", provider="x", model="m", inputTokens=10, outputTokens=1)
    await ended(
        driver,
        "a1",
        "a",
        provider="x",
        model="n",
        inputTokens=5,
        reasoningTokens=2,
        usageCaptureStatus="partial",
    )
    await driver.create("b", parent="root")
    metadata = {"provider": "x", "model": "m", "inputTokens": 1, "outputTokens": 2, "cachedInputTokens": 1}
    await driver.complete("root", metadata=msgspec.json.encode(metadata))


async def usage(driver, run_id):
    return await driver.runs.usage(await driver.row(run_id))


async def test_a_run_its_subtree_and_its_family_are_summed_up(driver, family):
    result = await usage(driver, "a")
    assert (result.run.runs, result.subtree.runs, result.family.runs) == (1, 2, 4)
    assert (result.run.tokens.total, result.subtree.tokens.total, result.family.tokens.total) == (11, 16, 19)
    assert result.family.ended == 3
    assert result.family.reported == 3
    assert result.family.by_model()[0][:3] == ("x", "m", 2)
    assert [(one[1], one[3].total) for one in result.family.by_model()] == [("m", 14), ("n", 5)]
    assert (result.family.tokens.cached_input_tokens, result.family.tokens.reasoning_tokens) == (1, 2)


async def test_the_capture_status_of_usage_is_shown(driver, family):
    result = await usage(driver, "root")
    assert result.run.capture == "complete"
    assert result.family.capture == "partial"
    assert result.family.captures == {"complete": 2, "partial": 1, "missing": 0}
    assert (await usage(driver, "b")).run.capture is None
    await ended(driver, "lost", None, provider="x")
    assert (await usage(driver, "lost")).run.capture == "missing"


async def test_sums_are_exact_however_large(driver):
    await driver.create("root")
    for n in range(3):
        await ended(driver, f"c-{n}", "root", inputTokens=limits.integer_max)
    assert (await usage(driver, "root")).family.tokens.input_tokens == 3 * limits.integer_max


async def test_names_and_values_that_do_not_count_stay_out_of_memory(driver):
    long = "m" * 1_000
    await ended(driver, "run", None, model=long, inputTokens=1, outputTokens=1, notes="x" * 100_000)
    result = await usage(driver, "run")
    assert result.run.by_model()[0][:2] == (None, long[: limits.name_chars_max])


async def test_a_run_without_metadata_reports_nothing(driver):
    await driver.create("run")
    await driver.complete("run")
    result = (await usage(driver, "run")).run
    assert (result.runs, result.ended, result.reported, result.capture, result.by_model()) == (
        1,
        1,
        0,
        None,
        [],
    )
