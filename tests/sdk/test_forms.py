"""Forms in handlers: `ctx.ask` returns the values, also those of secret fields, in every try."""

import pytest

from runstead.sdk import App, Context, RunFailed, ThreadContext
from runstead.sdk.models.secret import SecretValue
from runstead.testing import Testbed

SECRET = "hunter2-correct-horse-battery"
FIELDS = [
    {"name": "user", "label": "User", "type": "text"},
    {"name": "token", "label": "Token", "type": "password"},
]
VALUES = {"user": "ada", "token": SECRET}
app = App()
seen = []
broken = []


def sign_in(token):
    return len(token.get_secret_value())


@app.agent("scribe", retries=1)
async def scribe(ctx: Context):
    answer = await ctx.ask("Sign in", FIELDS, description="At the printer")
    seen.append(answer)
    length = await ctx.step("sign in", sign_in, answer["token"])
    await ctx.wait_for_event("go on")
    if not broken:
        broken.append(answer)
        raise RuntimeError("the disk is full")
    return [answer["user"], length, repr(answer)]


@app.agent("plain")
def plain(ctx: ThreadContext):
    return ctx.ask("Sign in", FIELDS)["token"].get_secret_value() == SECRET


@app.agent("careless")
async def careless(ctx: Context):
    answer = await ctx.ask("Sign in", FIELDS)
    return await ctx.step("keep", lambda: answer)


@app.agent("both")
async def both(ctx: Context):
    try:
        first, second = await ctx.gather(ctx.ask("One", FIELDS), ctx.ask("Two", FIELDS[:1]))
    except RunFailed as error:
        return error.code
    return [first["token"].get_secret_value(), second]


@app.agent("either")
async def either(ctx: Context):
    await ctx.first(asked=ctx.ask("Sign in", FIELDS), late=ctx.sleep(60))


@app.task("alone")
async def alone(ctx: Context):
    await ctx.ask("Sign in", FIELDS)


@pytest.fixture
async def bed():
    seen.clear()
    broken.clear()
    async with Testbed(app) as made:
        yield made


async def test_each_try_gets_the_values_and_the_log_has_no_secret(bed):
    run = await bed.run("agent:scribe")
    [request] = [one async for one in bed.client.input_requests.iter(run.conversation_id)]
    assert (request.title, request.description, request.keeps_secrets) == (
        "Sign in",
        "At the printer",
        True,
    )
    with pytest.raises(AssertionError, match="does not wait for a form"):
        await bed.respond(await bed.run("agent:scribe", implementation_kind="other"), VALUES)
    await bed.respond(run, VALUES)
    await bed.signal(run, "go on")
    ended = await bed.result(run)
    assert ended.output == ["ada", len(SECRET), "{'user': 'ada', 'token': SecretValue('**********')}"]
    assert (
        seen == [{"user": "ada", "token": SecretValue(SECRET)}] * 3
    )  # after the form, the event and the retry
    assert SECRET not in str([event.payload for event in await bed.events(run)])
    assert SECRET not in str(ended)


async def test_a_handler_in_a_thread_asks_too(bed):
    run = await bed.run("agent:plain")
    await bed.respond(run, VALUES)
    assert (await bed.result(run)).output is True


async def test_a_secret_does_not_become_a_result_of_a_step(bed):
    run = await bed.run("agent:careless")
    await bed.respond(run, VALUES)
    ended = await bed.result(run)
    assert (ended.status, ended.error.code) == ("failed", "STEP_RESULT_NOT_JSON")
    assert "a secret is not stored" in ended.error.message
    assert SECRET not in str(ended.error)


async def test_forms_of_branches_are_asked_one_after_the_other(bed):
    run = await bed.run("agent:both")
    await bed.respond(run, VALUES)
    await bed.respond(run, {"user": "bob"})
    assert (await bed.result(run)).output == [SECRET, {"user": "bob"}]


async def test_a_cancelled_form_raises(bed):
    run = await bed.run("agent:both")
    [request] = [one async for one in bed.client.input_requests.iter(run.conversation_id)]
    await bed.client.input_requests.cancel(run.conversation_id, request.id)
    await bed.settle()
    assert (await bed.result(run)).output == "FORM_CANCELLED"


async def test_a_form_is_refused_where_a_run_cannot_wait_for_it(bed):
    assert (await bed.result(await bed.run("agent:either"))).error.code == "FORM_IN_FIRST"
    assert (await bed.result(await bed.run("task:alone"))).error.code == "NO_CONVERSATION"
