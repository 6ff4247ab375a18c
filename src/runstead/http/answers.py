"""Types of answers that have the same form for every noun."""

from typing import Any

import msgspec

from runstead.http.framework.values import PageInfo


def answer_of(name: str, **members: Any) -> type[Any]:
    """Name the answers with these members, such as `{"webhook": …}`."""
    return msgspec.defstruct(name, [*members.items()], frozen=True)


def page_of(name: str, view: Any) -> type[Any]:
    """Name the pages of a list that always has `page_info`."""
    return answer_of(name, data=list[view], page_info=PageInfo)


def list_of(name: str, view: Any, things: str) -> type[Any]:
    """Name the lists of these things that have `page_info` only where it is needed."""
    return msgspec.defstruct(
        name,
        [("data", list[view]), ("page_info", PageInfo | msgspec.UnsetType, msgspec.UNSET)],
        namespace={"__doc__": f"`page_info` is present if more {things} follow, or if `cursor` was sent."},
        frozen=True,
    )
