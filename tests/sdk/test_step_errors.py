"""Errors of steps: the run has the code, type and traceback of the cause; `raises` lets an exception through."""

import logging

import pytest

from runstead.core.errors import RUN_CODES
from runstead.sdk import App, ChildFailed, RunFailed, Step, StepFailed
from runstead.sdk.worker.codes import SERVER_CODES
from runstead.testing import BlockingTestbed, Testbed

from .test_mistakes import end_of


class CardDeclined(Exception):  # noqa: N818 - a user's name
    def __init__(self, card: str, left: int = 0) -> None:
        super().__init__(card, left)
        self.card = card
        self.left = left

    def __str__(self) -> str:
        return f"The card {self.card} was declined"


class Lost(CardDeclined):
    code = "CARD_LOST"


class OddError(Exception):
    """Its arguments are not those of its type."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why.upper())


def charge(kind=CardDeclined):
    raise kind("4242", 3) if kind is not OddError else OddError(why="odd")


@pytest.mark.parametrize(("kind", "code"), [(CardDeclined, "CardDeclined"), (Lost, "CARD_LOST")])
async def test_an_uncaught_failed_step_gives_the_run_the_code_and_type_of_its_cause(kind, code):
    async def t(ctx):
        await ctx.step("charge", charge, kind)

    run = await end_of(t)
    assert (run.error.code, run.error.type) == (code, kind.__name__)
    assert run.error.message == "The step 'charge' failed: The card 4242 was declined"
    raised = RunFailed(run.error.message, run.error.code, run.error.detail)  # as a client raises it
    assert (raised.type, raised.traceback) == (kind.__name__, run.error.traceback)


@pytest.mark.parametrize("raises", [CardDeclined, Exception, (KeyError, CardDeclined)])
async def test_raises_lets_an_exception_through_as_itself_now_and_on_replay(raises):
    seen, calls = [], []

    def pay():
        calls.append(1)
        raise Lost("4242", 3)

    async def t(ctx):
        try:
            await ctx.step("charge", pay, options=Step(retries=5, raises=raises))
        except CardDeclined as error:
            seen.append((type(error), error.args, error.card, error.left, error.code, str(error)))
        await ctx.sleep(60)

    assert (await end_of(t)).status == "completed"
    assert calls == [1]  # an expected outcome is not retried
    assert seen == [(Lost, ("4242", 3), "4242", 3, "CARD_LOST", "The card 4242 was declined")] * 2


async def test_an_exception_of_another_type_is_still_step_failed():
    async def t(ctx):
        try:
            await ctx.step("charge", charge, options=Step(raises=KeyError))
        except StepFailed as failed:
            return [failed.code, failed.type]

    assert (await end_of(t)).output == ["CardDeclined", "CardDeclined"]


async def test_an_exception_that_cannot_be_made_from_its_arguments_keeps_its_type_and_message():
    seen = []

    async def t(ctx):
        try:
            await ctx.step("charge", charge, OddError, options=Step(raises=OddError))
        except OddError as error:
            seen.append((type(error).__name__, str(error)))
        await ctx.sleep(60)

    await end_of(t)
    assert seen == [("OddError", "ODD")] * 2


async def test_run_failed_goes_through_raises_with_its_detail():
    seen = []

    def check():
        raise RunFailed("closed", "CLOSED", {"account": 7})

    async def t(ctx):
        try:
            await ctx.step("check", check, options=Step(raises=RunFailed))
        except RunFailed as error:
            seen.append((error.message, error.code, error.detail))
        await ctx.sleep(60)

    await end_of(t)
    assert seen == [("closed", "CLOSED", {"account": 7})] * 2


@pytest.mark.parametrize("waits", [False, True], ids=["now", "replayed"])
async def test_an_uncaught_exception_of_raises_fails_the_run_and_is_retried_with_it(waits):
    calls = []

    def pay():
        calls.append(1)
        raise CardDeclined("4242")

    async def t(ctx):
        try:
            await ctx.step("charge", pay, options=Step(raises=CardDeclined))
        except CardDeclined:
            if waits:
                await ctx.sleep(60)
            raise

    run = await end_of(t, retries=2)
    assert (run.error.code, run.error.type, len(calls)) == ("CardDeclined", "CardDeclined", 3)
    assert "in pay" in run.error.traceback


# Children


def test_the_codes_that_a_parent_does_not_get_are_those_of_the_server():
    assert RUN_CODES.keys() == SERVER_CODES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CardDeclined("4242"), "CardDeclined"),
        (RunFailed("no", "OUT_OF_STOCK"), "OUT_OF_STOCK"),
        (RunFailed("no"), "CHILD_FAILED"),
        (RunFailed("no", "INVALID_INPUT"), "CHILD_FAILED"),
        (RunFailed("no", "LEASE_EXPIRED"), "CHILD_FAILED"),
    ],
)
async def test_an_uncaught_failed_child_gives_the_run_the_code_that_the_child_has_from_its_handler(
    error, code
):
    app = App()

    @app.task("parent")
    async def parent(ctx):
        await (await ctx.spawn("task:child")).result()

    @app.task("child")
    async def child(ctx):
        raise error

    async with Testbed(app) as bed:
        ended = await bed.get(await bed.run("task:parent"))
    assert ended.error.code == code
    assert ended.error.type == ("CardDeclined" if code == "CardDeclined" else "ChildFailed")
    assert ended.error.detail["child_run_id"].startswith("run_")


async def test_a_cancelled_child_has_its_own_code():
    app = App()

    @app.task("parent")
    async def parent(ctx):
        child = await ctx.spawn("task:other")
        try:
            await child.result()
        except ChildFailed as failed:
            return failed.code

    async with Testbed(app) as bed:
        run = await bed.run("task:parent")
        [child] = (await bed.client.runs.children(run.run_id)).data
        await bed.cancel(child)
        assert (await bed.result(run)).output == "CHILD_CANCELLED"


# Tracebacks


@pytest.mark.parametrize("waits", [False, True], ids=["now", "replayed"])
async def test_the_traceback_of_a_failed_step_has_the_users_frames_first(waits):
    async def t(ctx):
        try:
            await ctx.step("charge", charge)
        except StepFailed:
            if waits:
                await ctx.sleep(60)
            raise

    lines = (await end_of(t)).error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{__file__}"')
    assert lines[1].endswith("in charge")
    assert "tests.sdk.test_step_errors.CardDeclined: The card 4242 was declined" in lines
    after = lines[lines.index("Traceback (most recent call last):", 1) :]
    assert after[1].endswith("in t")
    assert [line for line in lines if "/runstead/sdk/" in line] == []
    assert any(line.startswith("  … ") and line.endswith("of runstead") for line in lines)


def test_the_traceback_of_a_plain_function_has_no_frame_of_the_sdk_between_its_own():
    app = App()

    @app.task("t")
    def t(ctx):
        ctx.sleep("soon")

    with BlockingTestbed(app) as bed:
        traceback = bed.run("task:t").error.traceback
    files = [line for line in traceback.splitlines() if line.startswith("  File ")]
    assert all(__file__ in line for line in files), traceback
    assert "frames of runstead" in traceback


async def test_the_worker_logs_the_message_and_the_traceback(caplog):
    async def t(ctx):
        raise ValueError("no such host")

    caplog.set_level(logging.WARNING)
    run = await end_of(t)
    [record] = [one for one in caplog.records if one.getMessage().startswith(f"Run {run.run_id} failed")]
    assert record.getMessage().startswith(f"Run {run.run_id} failed: ValueError: no such host\nTraceback")
    assert run.error.traceback in record.getMessage()
