"""Renders templates; filters format times, durations, sizes and states."""

import secrets
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from runstead import __version__
from runstead.core.clock import iso
from runstead.core.runs.large_value import reference, result_reference
from runstead.web.framework.assets import address
from runstead.web.framework.text import browser_name, cut, finalize, harmless, pretty, preview


def when(at_ms: int | None) -> Markup:
    """A time in UTC. JavaScript replaces it with its age, and shows the local time on hover."""
    if at_ms is None:
        return Markup('<span class="none">—</span>')
    text = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at_ms), text, text)


def instant(at_ms: int) -> Markup:
    """A time in UTC with milliseconds, for comparing neighbouring rows. On hover: in the user's zone."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}"
    return Markup('<time datetime="{}" data-exact title="{} UTC">{}</time>').format(iso(at_ms), text, text)


def took(duration_ms: float | None) -> str:
    """A duration in its two largest units."""
    if duration_ms is None:
        return "—"
    if duration_ms < 1_000:
        return f"{duration_ms:.0f} ms"
    seconds = duration_ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def size(count: int) -> str:
    """A number of bytes, in the unit that fits."""
    if count < 1_000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1_000
        if value < 1_000:
            return f"{value:.1f} {unit}"
    return f"{value / 1_000:.1f} TB"


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


_STATUS_SIGNS: Final = {
    "pending": "○",
    "running": "◐",
    "waiting": "◇",
    "completed": "●",
    "failed": "✕",
    "completed_with_failures": "✕",
    "cancelled": "⊘",
    "cancelling": "⊘",
    "healthy": "●",
    "stale": "◇",
    "active": "●",
    "paused": "‖",
    "deleting": "⊘",
}


def status(value: str) -> Markup:
    """A state with a word and a sign, as not everyone can distinguish colours."""
    sign = _STATUS_SIGNS.get(value, "•")
    return Markup('<span class="status status-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        value, sign, value.replace("_", " ")
    )


def copy(what: str, element_id: str = "") -> Markup:
    """A button that copies the text of the element before it, or of the element with this id."""
    return Markup(
        '<button type="button" class="link copy scripted" data-copies="{}" aria-label="Copy {}">Copy</button>'
    ).format(element_id, what)


def form_token_field() -> Markup:
    """The hidden field of a form that creates something: see `idempotent_form`."""
    return Markup('<input type="hidden" name="form_token" value="{}">').format(secrets.token_hex(16))


def short(text: str | None, chars_max: int = 40) -> Markup:
    """A name. A long one is cut in the middle and shown whole on hover."""
    text = harmless(text or "")
    if len(text) <= chars_max:
        return escape(text)
    head = chars_max // 2
    return Markup('<span title="{}">{}…{}</span>').format(
        cut(text, 500), text[:head], text[-(chars_max - head - 1) :]
    )


ENVIRONMENT: Final = Environment(
    loader=PackageLoader("runstead.web"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=finalize,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
ENVIRONMENT.filters |= {
    "when": when,
    "instant": instant,
    "took": took,
    "size": size,
    "number": number,
    "status": status,
    "short": short,
    "cut": cut,
    "pretty": pretty,
    "preview": preview,
    "browser_name": browser_name,
    "reference": reference,
    "result_reference": result_reference,
}
ENVIRONMENT.globals |= {
    "static": address,
    "version": __version__,
    "copy": copy,
    "form_token_field": form_token_field,
}


def render(template: str, **values: Any) -> str:
    """A page or a part of a page, as HTML."""
    return ENVIRONMENT.get_template(template).render(values)
