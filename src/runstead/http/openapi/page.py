"""The OpenAPI document as one HTML page, without scripts and external resources."""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape
from typing import Any, Final

from runstead.core.errors import CODES, RUN_CODES
from runstead.http.framework.problems import STATUS
from runstead.http.openapi.page_style import STYLE
from runstead.http.openapi.page_types import members, type_of

Schema = dict[str, Any]

_TICKS: Final = re.compile(r"`([^`]+)`")
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: Allows only the page's own style: no script, image, frame or form.
CONTENT_SECURITY_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_AUTHENTICATION: Final = """
<p>Every request needs one credential, in one of three forms:</p>
<pre tabindex="0"><code>Authorization: Bearer vf_&lt;prefix&gt;_&lt;secret&gt;   <i># an API key</i>
X-API-Key: vf_&lt;prefix&gt;_&lt;secret&gt;              <i># the same key</i>
Authorization: Bearer &lt;token&gt;                <i># a user's JWT, or a worker token</i></code></pre>
<p>A key belongs to one project and carries scopes: <code>runs:read</code>, <code>runs:write</code>,
<code>workers</code>, <code>audit:read</code> and <code>admin</code>, which includes the others. A user has access to a project as its member, or
by the token's <code>projectId</code>. A worker token is in the answer to the worker's registration. It is valid for
heartbeats, claims, leases and sessions. Objects that a caller may not see answer 404.</p>
<pre tabindex="0"><code>curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8720/runs</code></pre>
"""

_CONVENTIONS: Final = """
<ul>
<li>Requests and answers are JSON in UTF-8. Unknown members of a body are ignored. An empty body counts as
<code>{}</code>.</li>
<li>Times are ISO-8601 in UTC with milliseconds: <code>2026-03-20T12:00:00.000Z</code>.</li>
<li>An error is <code>application/problem+json</code> with a message in <code>detail</code> and a stable
<code>code</code> from <a href="#errors">the table below</a>.</li>
<li>A 503 has a <code>Retry-After</code>. With an <code>Idempotency-Key</code>, a retry is safe.</li>
<li>For the next page of a list, send <code>page_info.next</code> as <code>cursor</code>; for a list of events, send the
number of the last event as <code>after_event_id</code>.</li>
<li>A body has at most 10 MiB. The API never redirects.</li>
</ul>
"""


def page(document: Schema) -> str:
    """Render the document as an HTML page."""
    groups = _groups(document)
    schemas: dict[str, Schema] = document["components"]["schemas"]
    info = document["info"]
    sections = "".join(
        f'<section aria-labelledby="{_anchor(tag)}"><h2 id="{_anchor(tag)}">{escape(tag)}</h2>'
        + "".join(_operation(path, method, spec, schemas) for path, method, spec in found)
        + "</section>"
        for tag, found in groups.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Runstead API {escape(info["version"])}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header><h1>Runstead API <small>{escape(info["version"])}</small></h1>
<p>{escape(info["summary"])}. For programs: <a href="/openapi.json">openapi.json</a>, OpenAPI {document["openapi"]}.</p>
</header>
<div class="columns">
<nav aria-label="Contents">{_contents(groups)}</nav>
<main id="main">
<section aria-labelledby="authentication"><h2 id="authentication">Authentication</h2>{_AUTHENTICATION}</section>
<section aria-labelledby="conventions"><h2 id="conventions">Conventions</h2>{_CONVENTIONS}</section>
{sections}
<section aria-labelledby="objects"><h2 id="objects">Objects</h2>{_objects(schemas)}</section>
<section aria-labelledby="errors"><h2 id="errors">Error codes</h2>{_errors()}</section>
</main>
</div>
</body>
</html>
"""


def _groups(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    groups: dict[str, list[tuple[str, str, Schema]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, spec in methods.items():
            groups[spec["tags"][0]].append((path, method.upper(), spec))
    return groups


def _anchor(tag: str) -> str:
    return f"tag-{tag.lower().replace(' ', '-')}"


def _contents(groups: dict[str, list[tuple[str, str, Schema]]]) -> str:
    def link(anchor: str, text: str) -> str:
        return f'<li><a href="#{anchor}">{text}</a></li>'

    parts = [link("authentication", "Authentication"), link("conventions", "Conventions")]
    for tag, found in groups.items():
        links = "".join(
            link(spec["operationId"], f"{_method(method)} {_path(path)}") for path, method, spec in found
        )
        parts.append(f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a><ul>{links}</ul></li>')
    parts += [link("objects", "Objects"), link("errors", "Error codes")]
    return f"<ul>{''.join(parts)}</ul>"


def _method(method: str) -> str:
    return f'<b class="method {method.lower()}">{method}</b>'


def _path(path: str) -> str:
    """Render a path that may break after a slash, for narrow screens."""
    return f'<code class="path">{escape(path).replace("/", "/<wbr>")}</code>'


def prose(text: str) -> str:
    """Escape text, and render `code` as HTML."""
    return _TICKS.sub(r"<code>\1</code>", escape(text))


def _operation(path: str, method: str, spec: Schema, schemas: dict[str, Schema]) -> str:
    anchor = spec["operationId"]
    parts = [f"<p>{prose(spec['summary'])}</p>"]
    if "description" in spec:
        parts.append(f"<p>{prose(spec['description'])}</p>")
    if spec.get("security") == []:
        parts.append("<p>Needs no credential.</p>")
    if spec["parameters"]:
        rows = (
            _row(
                p["name"], p["schema"], p.get("description"), required=p.get("required", False), where=p["in"]
            )
            for p in spec["parameters"]
        )
        parts.append(_table("Parameters", rows))
    if "requestBody" in spec:
        parts.append(_body(spec["requestBody"]["content"], schemas))
    parts.append(_answers(spec["responses"]))
    return (
        f'<article aria-labelledby="{anchor}"><h3 id="{anchor}">'
        f'<a href="#{anchor}">{_method(method)} {_path(path)}</a></h3>{"".join(parts)}</article>'
    )


def _body(content: Schema, schemas: Schema) -> str:
    schema = content["application/json"]["schema"]
    if "$ref" not in schema:
        return f"<p>Any body: {', '.join(f'<code>{escape(kind)}</code>' for kind in content)}.</p>"
    name = _name_of(schema)
    if "discriminator" in schemas[name]:
        return _cases(schemas[name])
    return _members_table("Body", schemas[name], schemas[name].get("description"))


def _name_of(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _row(name: str, schema: Schema, description: str | None, *, required: bool, where: str = "") -> str:
    kind, notes = type_of(schema)
    inner = (option.get("description") for option in (schema, *schema.get("anyOf", ())))
    about = " ".join(dict.fromkeys(text for text in (description, *inner) if text))
    location = f' <span class="where">{where}</span>' if where else ""
    needed = ' <b class="required">required</b>' if required else ""
    described = f"{prose(about)} " if about else ""
    return (
        f'<tr><th scope="row"><code>{escape(name)}</code>{location}{needed}</th><td>{kind}</td>'
        f'<td>{described}<span class="limits">{escape(notes)}</span></td></tr>'
    )


def _table(caption: str, rows: Iterable[str], third: str = "About") -> str:
    head = f'<tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">{third}</th></tr>'
    body = "".join(rows)
    return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"


def _members_table(caption: str, schema: Schema, description: str | None) -> str:
    rows = [_row(name, member, None, required=required) for name, member, required in members(schema)]
    about = f"<p>{prose(description)}</p>" if description else ""
    if not rows:
        return f"{about}<p>{caption}: no members.</p>"
    return about + _table(caption, rows)


def _cases(schema: Schema) -> str:
    """Render a body that has one of several types, selected by a member."""
    discriminator = schema["discriminator"]
    rows = (
        f"<li>With <code>{escape(discriminator['propertyName'])}: {escape(value)}</code>: "
        f"{type_of({'$ref': reference})[0]}.</li>"
        for value, reference in discriminator["mapping"].items()
    )
    return f"<p>{prose(schema['description'])} The body is one of these:</p><ul>{''.join(rows)}</ul>"


def _answers(responses: Schema) -> str:
    rows = []
    for status, response in responses.items():
        if "content" not in response:
            rows.append(f"<dt>{status}</dt><dd>no body</dd>")
            continue
        media_type, content = next(iter(response["content"].items()))
        if status.startswith("2"):
            kind = (
                type_of(content["schema"])[0]
                if media_type == "application/json"
                else " or ".join(f"<code>{kind}</code>" for kind in response["content"])
            )
            headers = ", ".join(response.get("headers", ()))
            rows.append(f"<dt>{status}</dt><dd>{kind}{f', with {headers}' if headers else ''}</dd>")
        else:
            codes = re.findall(r"`([A-Z][A-Z_]+)`:", response["description"])
            links = " ".join(f'<a href="#{code}"><code>{code}</code></a>' for code in codes)
            rows.append(f"<dt>{status}</dt><dd>{links}</dd>")
    return f'<h4>Answers</h4><dl class="answers">{"".join(rows)}</dl>'


def _objects(schemas: dict[str, Schema]) -> str:
    parts = []
    for name, schema in sorted(schemas.items()):
        if "properties" in schema:
            content = _members_table("Members", schema, schema.get("description"))
        else:
            content = f"<p>{type_of(schema)[0]}</p>"
        parts.append(
            f'<article aria-labelledby="object-{name}"><h3 id="object-{name}">'
            f'<a href="#object-{name}">{name}</a></h3>{content}</article>'
        )
    return "".join(parts)


def _errors() -> str:
    def rows(codes: dict[str, str], statuses: dict[str, int]) -> str:
        return "".join(
            f'<tr id="{code}"><th scope="row"><a href="#{code}"><code>{code}</code></a></th>'
            f"<td>{statuses.get(code, 'in the run')}</td><td>{prose(meaning)}</td></tr>"
            for code, meaning in codes.items()
        )

    own = {code: meaning for code, meaning in RUN_CODES.items() if code not in CODES}
    head = '<tr><th scope="col">Code</th><th scope="col">Status</th><th scope="col">Meaning</th></tr>'
    return (
        "<p>The <code>type</code> of a problem links to its row here.</p>"
        f"<table><caption>Codes of answers</caption><thead>{head}</thead><tbody>{rows(CODES, STATUS)}</tbody></table>"
        "<p>Codes in the <code>error</code> of a run that the server ended:</p>"
        f"<table><caption>Codes of runs</caption><thead>{head}</thead><tbody>{rows(own, {})}</tbody></table>"
    )
