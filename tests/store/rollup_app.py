"""What tests of sums have in common: runs that used something, and the reports on them."""

import re

import msgspec

from runstead.commands import charts, usage_report
from runstead.commands.app import App
from runstead.commands.check import check
from runstead.core.identity.principal import ALL_SCOPES, Principal
from runstead.core.identity.project import Project
from runstead.core.usage.rollup import DAY
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.sql.sql_files import migrations
from runstead.ports.store import RunQuery
from tests.support.clock import NOON
from tests.support.store_driver import PROJECT

ELSEWHERE = "99999999-9999-4999-8999-999999999999"
ADMIN = Principal("api_key", "k", {PROJECT: ALL_SCOPES, ELSEWHERE: ALL_SCOPES})
AGENT = {"kind": "agent", "implementation_kind": "python"}


async def open_app(store):
    for project_id, slug in ((PROJECT, "inventory"), (ELSEWHERE, "elsewhere")):
        await store.identity.create_project(Project(project_id, slug, slug, 1), None, None)
    return App(store, LocalNotifier())


def used(tokens, model="m"):
    return msgspec.json.encode({"provider": "acme", "model": model, "inputTokens": tokens, "outputTokens": 1})


async def complete(driver, run_id, tokens=10, model="m", **given):
    await driver.create(run_id, **given)
    return (await driver.complete(run_id, metadata=used(tokens, model))).run


async def report(app, since=0, until=NOON + 400 * DAY, by="model", project=PROJECT):
    return await usage_report.report(app, ADMIN, project, since, until, by)


async def activity(app, since, until, buckets=10, project=PROJECT, **filters):
    return await charts.activity(app, ADMIN, project, RunQuery((), **filters), since, until, buckets)


async def fold_all(store):
    while await store.rollups.add_entries(3):
        pass


async def sound(store):
    assert [found.sentence for found in [found async for found in check(store)]] == []


def told(found):
    groups = {one.key: (one.runs, one.tokens.input_tokens) for one in found.groups}
    return groups, (found.total.runs, found.total.tokens.input_tokens), found.runs


def as_of_an_older_version(store, engine):
    """Forget all sums, as if the store had been brought up to date just now."""
    tables = ("rollup_entries", "usage_rollups", "activity_rollups", "rollup_backlog", "rollup_open")
    name = {"sqlite": "0019_rollups", "postgres": "0016_rollups"}[engine]
    # What the migration does beside making tables.
    made = re.findall(r"^INSERT [^;]+;", migrations(f"runstead.engines.{engine}")[name], re.MULTILINE)
    assert len(made) == 2
    statements = [*(f"DELETE FROM {table}" for table in tables), *made]
    if engine == "sqlite":
        return store._writer.do(lambda connection, _: [connection.execute(one) for one in statements])

    async def job(connection, _):
        for one in statements:
            await connection.execute(one)

    return store._writer.do(job)
