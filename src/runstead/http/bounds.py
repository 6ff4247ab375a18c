"""Bounds of members of bodies and queries, as annotations: `Annotated[str, line(limits.name_chars_max)]`."""

from msgspec import Meta

from runstead.http.framework.values import NO_CONTROLS, NO_NUL


def line(chars_max: int, description: str | None = None, *, pattern: str = NO_CONTROLS) -> Meta:
    """At least one character, and no control characters unless another pattern allows them."""
    return Meta(min_length=1, max_length=chars_max, pattern=pattern, description=description)


def text(chars_max: int, description: str | None = None, *, pattern: str = NO_NUL) -> Meta:
    """Any text that the pattern allows, also an empty one."""
    return Meta(max_length=chars_max, pattern=pattern, description=description)


def between(first: int, last: int, description: str | None = None) -> Meta:
    """A number from the first to the last."""
    return Meta(ge=first, le=last, description=description)
