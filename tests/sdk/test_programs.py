"""Random handlers with workers that die at any time: the output is the same, and finished steps are not called again."""

import asyncio
import itertools

from hypothesis import given, settings, strategies as st

from runstead.sdk import App, Step, StepFailed
from tests.support.examples import examples

from .call_recorder import CallRecorder

# A program is a list of operations with their arguments.
WORK = st.one_of(
    st.tuples(st.just("step"), st.sampled_from(("fine", "broken", "late", "permanent"))),
    st.tuples(st.just("sleep"), st.sampled_from((0.5, 60))),
    st.tuples(st.just("value"), st.sampled_from(("now", "random", "uuid"))),
    st.tuples(st.just("child"), st.none()),
    st.tuples(st.just("event"), st.none()),
)
PROGRAM = st.recursive(
    st.lists(WORK, max_size=4),
    lambda inner: st.lists(
        st.one_of(
            WORK,
            st.tuples(st.sampled_from(("gather", "race", "first")), st.lists(inner, min_size=1, max_size=3)),
        ),
        min_size=1,
        max_size=5,
    ),
    max_leaves=6,
)
#: The numbers of the calls at which the worker dies, and whether before or after the effect.
CRASHES = st.dictionaries(st.integers(1, 40), st.sampled_from(("before", "after")), max_size=8)


class Program:
    """A handler that runs a program. `done` and `given` record the effects and arguments of its steps."""

    def __init__(self, program, crashes):
        self.done, self.given = {}, {}
        app = App()

        @app.task("t", retries=2)
        async def t(ctx):
            return await self.run(ctx, program, "")

        self.recorder = CallRecorder(app, crash=crashes.get)

    async def run(self, ctx, program, place, *, strict=False):
        results = []
        for number, (what, how) in enumerate(program):
            name = f"{place}{number}"
            try:
                results.append(await self.one(ctx, name, what, how))
            except StepFailed as failed:
                if strict:
                    raise
                results.append(f"{name} failed: {failed.code}")
        return results

    async def one(self, ctx, name, what, how):
        match what:
            case "step":
                return await ctx.step(name, self.effect, name, how, options=Step(retries=1))
            case "sleep":
                return await ctx.sleep(how)
            case "value":
                value = str(getattr(ctx, how)())
                return await ctx.step(f"with {name}", self.use, name, value) == value
            case "child":
                child = await ctx.spawn("task:child", input=name)
                return (await child.wait()).status
            case "event":
                return await ctx.wait_for_event(name)
            case "gather":
                branches = [self.run(ctx, branch, f"{name}/{n}.") for n, branch in enumerate(how)]
                return await ctx.gather(*branches)
            case "first":
                # Which branch ends first is random, but the same branch is reported in every try.
                branches = {f"b{n}": self.run(ctx, one, f"{name}/{n}.") for n, one in enumerate(how)}
                winner, _ = await ctx.first(**branches)
                return await ctx.step(f"with {name}", self.use, name, winner) == winner
            case "race":
                # Which branch fails first is random, but the same branch is reported in every try.
                branches = [self.run(ctx, one, f"{name}/{n}.", strict=True) for n, one in enumerate(how)]
                try:
                    return await ctx.gather(*branches)
                except StepFailed as failed:
                    await ctx.step(f"with {name}", self.use, name, failed.name)
                    return f"{name} failed"

    async def effect(self, name, how):
        self.is_new(name)
        self.done[name] = self.done.get(name, 0) + 1
        await asyncio.sleep(0)
        if how == "permanent" or (how == "late" and self.done[name] == 1):
            raise ValueError(how)
        if how == "broken":
            raise KeyError(name)
        return name

    async def use(self, name, value):
        # A value that a step has used must be the same in every try.
        assert self.given.setdefault(name, value) == value
        return value

    def is_new(self, name):
        finished = self.recorder.events_of("STEP_FINISHED", stepName=name)
        assert finished == [], f"{name} is called again, although its result is stored"


def outcome(program, crashes):
    async def work():
        made = Program(program, crashes)
        made.recorder.answers = {str(name): f"for {name}" for name in names(program)}
        async with asyncio.timeout(30):
            await made.recorder.work()
        return made

    return asyncio.run(work())


def names(program, place=""):
    for number, (what, how) in enumerate(program):
        yield f"{place}{number}"
        if what in ("gather", "race", "first"):
            yield from itertools.chain.from_iterable(
                names(branch, f"{place}{number}/{n}.") for n, branch in enumerate(how)
            )


@settings(max_examples=examples(120), deadline=None)
@given(PROGRAM, CRASHES)
def test_whenever_workers_die_the_output_is_the_same_and_finished_steps_are_not_called_again(
    program, crashes
):
    quiet, rough = outcome(program, {}), outcome(program, dict(crashes))
    assert quiet.recorder.outcome == rough.recorder.outcome == "completed", (
        quiet.recorder.error,
        rough.recorder.error,
    )
    assert rough.recorder.output == quiet.recorder.output
    children = [body["public_id"] for body in rough.recorder.created]
    assert len(children) == len(set(children))
    if "race" not in str(program) and "first" not in str(program):
        assert rough.done.keys() == quiet.done.keys()
        assert len(children) == len(quiet.recorder.created)
    # Each step is finished once.
    ends = [event["stepId"] for event in rough.recorder.events_of("STEP_FINISHED")]
    starts = [event["stepId"] for event in rough.recorder.events_of("STEP_STARTED")]
    assert sorted(ends) == sorted(set(ends))
    assert set(ends) <= set(starts)
