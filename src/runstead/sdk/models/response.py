"""What every object of an answer shares: it is frozen, tolerates members it does not know, and hides secrets."""

from typing import Any, ClassVar

import msgspec


class ResponseModel(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object that the server answers.

    Members that a newer server adds are dropped. A member named in `SECRETS` never shows in a repr.
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
    """Where a page stands. `next` is the cursor of the page after it, None on the last."""

    this: str | None = msgspec.field(name="self", default=None)
    first: None = None
    next: str | None = None
    prev: str | None = None


class FieldError(ResponseModel, frozen=True, kw_only=True):
    """One value of a request body that was refused. `path` is like `request.target`."""

    path: str
    message: str
