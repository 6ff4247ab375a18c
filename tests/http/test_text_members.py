"""Every text of every request may hold any character, except NUL and unpaired surrogates, which are refused with 400.

PostgreSQL stores no NUL: one that reaches it fails the whole transaction, with the commands of other callers. The
requests are generated from `/openapi.json`, so that a new route or member is covered without a change here.
"""

import copy
import json
from urllib.parse import quote

import pytest

from .tenants import Tenant, bodies, rows_of

pytestmark = pytest.mark.postgres

TEXTS = {"NUL": "\0", "an unpaired surrogate": "\ud800"}
#: Their bodies are not JSON objects, or are read as a stream.
NOT_JSON = {"PUT /runs/{run_id}/artifacts/{name}", "POST /triggers/{token}"}
#: JSON of the caller, which is stored as JSON and keeps NUL. A request may also have members of other kinds of runs.
KEEP_NUL = {"request", "parts"}


class Document:
    def __init__(self, document):
        self._schemas = document["components"]["schemas"]
        self.operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]

    def resolved(self, schema):
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def options(self, schema):
        """Yield the schema, and those of its alternatives."""
        schema = self.resolved(schema)
        yield schema
        for word in ("anyOf", "oneOf", "allOf"):
            for option in schema.get(word, ()):
                yield from self.options(option)

    def texts(self, schema, path=(), depth=0):
        """Yield the path and the schema of each text of a body. A name is a member, 0 is an item, * is any name."""
        for option in self.options(schema):
            if "string" in option.get("type", ()) or option == {}:
                yield path, option
            if depth < 5:
                for name, member in option.get("properties", {}).items():
                    yield from self.texts(member, (*path, name), depth + 1)
                if isinstance(more := option.get("additionalProperties"), dict):
                    yield from self.texts(more, (*path, "*"), depth + 1)
                if isinstance(items := option.get("items"), dict):
                    yield from self.texts(items, (*path, 0), depth + 1)


def with_text(body, path, text):
    """Return the body with the text at the path, after the characters that stand there."""
    outer = whole = {"": copy.deepcopy(body)}
    here = ""
    for step in path:
        wanted = list if step == 0 else dict
        if not isinstance(outer[here], wanted) or not outer[here]:
            outer[here] = [None] if step == 0 else {step: None}
        outer, here = outer[here], step
        if isinstance(outer, dict):
            outer.setdefault(step, None)
    before = outer[here]
    outer[here] = f"{before if isinstance(before, str) else 'a'}{text}"
    return whole[""]


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.postgres
async def test_no_text_of_a_body_breaks_a_transaction(api, kind):
    document = Document(await api.get("/openapi.json", by=None))
    names = (await Tenant(api, api.project, "admin").furnish()).names
    texts, anything = [], []
    for method, template, operation in document.operations:
        if "requestBody" not in operation or f"{method} {template}" in NOT_JSON:
            continue
        content = operation["requestBody"]["content"]["application/json"]
        examples = [example["value"] for example in content.get("examples", {}).values()]
        base = (
            api.task()
            if template == "/runs"
            else bodies(names).get(f"{method} {template}") or (examples or [{}])[0]
        )
        for at, schema in document.texts(content["schema"]):
            if at:
                body = json.dumps(with_text(base, at, TEXTS[kind])).encode()
                may_have = kind == "NUL" and (schema == {} or not KEEP_NUL.isdisjoint(at))
                found = anything if may_have else texts
                found.append((method, template.format(**names), at, body))
    assert len(texts) > 150
    before = await rows_of(api.store)
    for method, path, at, body in texts:
        answer = await api.send(method, path, body, by="admin", headers={"If-Match": "*"})
        assert answer.status_code == 400, f"{method} {path} {at}: {answer.text}"
    assert await rows_of(api.store) == before
    for method, path, at, body in anything:
        answer = await api.send(method, path, body, by="admin", headers={"If-Match": "*"})
        assert answer.status_code < 500, f"{method} {path} {at}: {answer.text}"


async def test_no_text_of_a_query_breaks_a_statement(api):
    document = Document(await api.get("/openapi.json", by=None))
    names = (await Tenant(api, api.project, "admin").furnish()).names
    sent = 0
    for method, template, operation in document.operations:
        if method != "GET" or template.endswith(("/stream", "/notifications")):
            continue
        for parameter in operation.get("parameters", ()):
            if parameter["in"] != "query" or not any(document.texts(parameter["schema"])):
                continue
            for text in ("a%00b", "%00", quote("\ud800", errors="surrogatepass")):
                path = f"{template.format(**names)}?{parameter['name']}={text}"
                answer = await api.send("GET", path, by="admin")
                sent += 1
                assert answer.status_code < 500, f"{path}: {answer.text}"
                assert "%00" not in text or answer.status_code in {400, 403, 404}, path
    assert sent > 60


@pytest.mark.parametrize(
    ("path", "body"),
    [("cancel", {"reason": "a\0b"}), ("complete", {"status": "completed", "logs": "a\0b"})],
)
async def test_nul_in_a_reason_or_logs_is_refused_before_the_store(api, path, body):
    run_id = (await api.create())["run_id"]
    problem = await api.refused(400, "INVALID_REQUEST", "POST", f"/runs/{run_id}/{path}", body)
    [error] = problem["errors"]
    assert (error["path"], "NUL" in error["message"]) == (f"$.{list(body)[-1]}", True)
    assert (await api.run(run_id))["status"] == "pending"


async def test_an_escaped_backslash_before_u0000_is_no_nul(api):
    run = await api.create(api.task(title="\\u0000"))
    assert (run["title"], (await api.run(run["run_id"]))["title"]) == ("\\u0000", "\\u0000")
