"""The base of all objects in answers: frozen, open to unknown members, and without secrets in its repr."""

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

_T = TypeVar("_T")


class ResponseModel(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object in an answer of the server.

    Members that a newer server adds are ignored. Members in `SECRETS` are hidden in the repr.
    """

    SECRETS: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [
            (name, "***" if name in self.SECRETS and value is not None else value) for name, value in values
        ]

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({members})"


class PageInfo(ResponseModel, frozen=True, kw_only=True):
    """Cursors of a page. `next` is the cursor of the next page, None on the last one."""

    this: str | None = msgspec.field(name="self", default=None)
    first: None = None
    next: str | None = None
    prev: str | None = None


class Listing(ResponseModel, Generic[_T], frozen=True, kw_only=True):
    """Items of a list. These are all of them where the answer has no `page_info`."""

    data: list[_T]
    page_info: PageInfo = msgspec.field(default_factory=PageInfo)


class Page(Listing[_T], Generic[_T], frozen=True, kw_only=True):
    """One page of a list, which always has `page_info`."""

    page_info: PageInfo


class FieldError(ResponseModel, frozen=True, kw_only=True):
    """A refused value of a request body. `path` is like `request.target`."""

    path: str
    message: str
