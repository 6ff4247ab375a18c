"""An incomplete report is marked on its page and in the name of its CSV file."""

import msgspec
import pytest
from msgspec.structs import replace

from runstead.commands import create as creating, runs as commands
from runstead.commands.app import App
from runstead.commands.create import NewRun
from runstead.commands.keys import new_project
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.identity.principal import ALL_SCOPES, Principal
from runstead.core.runs.transitions import NO_FENCE, Completion
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.sqlite.rollups import SqliteRollups
from runstead.testing.store import TemporaryStore
from runstead.web.framework.form import Fields
from runstead.web.framework.request import PageRequest
from runstead.web.usage import pages

from .web_client import page_text


@pytest.fixture
async def show():
    """show(page, name=value…): the answer to who asks with this query. Five runs have reported, of three targets."""
    store = TemporaryStore(now_ms)
    await store.open()
    project = new_project("many", None)
    await store.identity.create_project(project, None, None)
    app, principal = App(store, LocalNotifier()), Principal("api_key", "k", {project.id: ALL_SCOPES})
    metadata = msgspec.json.encode(
        {"provider": "acme", "model": "big", "inputTokens": 1_000, "outputTokens": 1}
    )
    for number in range(5):
        new = NewRun(kind="task", owner_kind="project", owner_id=project.id, target=f"task:{min(number, 2)}")
        made = await creating.create(app, principal, new)
        named = RunRef(made.run.run_id, project.id)
        await commands.complete(
            app, principal, named, Completion(status="completed", metadata=metadata), NO_FENCE
        )

    async def show(page, **query):
        scope = {"path": "/", "query_string": b"", "headers": [], "path_params": {"project": "many"}}
        fields = Fields(list(query.items()))
        request = PageRequest(app, scope, principal, None, "secret", fields, Fields([]), lambda: None)
        answer = await page(request, project)
        answer.text = answer.body.decode()
        return answer

    yield show
    await store.close()


async def test_a_complete_report_shows_no_notice(show):
    page = page_text(await show(pages.index))
    assert "Input tokens 5,000" in page
    assert "Incomplete:" not in page
    assert "incomplete" not in (await show(pages.download)).headers["content-disposition"]


async def test_a_report_during_the_first_sum_shows_a_notice(show, monkeypatch):
    plain = SqliteRollups.usage

    async def usage_of_some(rollups, query):
        return replace(await plain(rollups, query), truncated=True)

    monkeypatch.setattr(SqliteRollups, "usage", usage_of_some)
    page = page_text(await show(pages.index))
    assert "Incomplete: runs from before the upgrade of this server are still being summed up" in page
    assert "-incomplete.csv" in (await show(pages.download)).headers["content-disposition"]


async def test_groups_that_are_left_out_are_counted(show, monkeypatch):
    monkeypatch.setattr(limits, "usage_groups_max", 1)
    page = page_text(await show(pages.index, by="target"))
    assert "The total includes 2 more." in page
    assert "Input tokens 5,000" in page
    table = await show(pages.download, by="target")
    assert table.text.count("\r\n") == 2
    assert "-incomplete.csv" in table.headers["content-disposition"]
