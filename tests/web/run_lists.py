"""Helpers for the list of runs without JavaScript."""

import re
from contextlib import contextmanager

import httpx2

LIST = "/ui/projects/default/runs"
ROW = re.compile(r'<tr id="run-\d+".*?</tr>', re.DOTALL)


@contextmanager
def reader(server, key=None):
    """A signed-in browser without JavaScript."""
    headers = {"Accept": "text/html"}
    with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
        answer = client.post("/ui/sign-in", data={"credential": key or server.key})
        assert answer.status_code == 303, answer.text
        yield client


def rows_in(page):
    """The rows of the list in this HTML, in order."""
    return ROW.findall(page if isinstance(page, str) else page.text)


def run_ids_in(page):
    return [row.partition("/runs/")[2].partition('"')[0] for row in rows_in(page)]


def link(page, name):
    """The address of the link with this text, None if there is no such link."""
    match = re.search(rf'href="([^"]*)"[^>]*>{name}</a>', page.text)
    return match and match[1].replace("&amp;", "&")


def csrf_in(page):
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


def create(api, target, **members):
    """Create a task run in the project `default`. Return its id."""
    owner = {"kind": "project", "id": api.project_id()}
    body = {"kind": "task", "owner": owner, "request": {"target": target}, **members}
    return api.post("/runs", body)["run"]["run_id"]


def frames(lines):
    """Server-sent events as (name, data)."""
    name, data = "", []
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and name:
            yield name, "\n".join(data)
            name, data = "", []
