"""The path of the object that an answer holds, for the header Location."""

import re
from string import Formatter
from typing import Any, Final
from urllib.parse import quote


def member(value: Any, name: str) -> Any:
    """A member of an answer, a struct or decoded JSON."""
    return value[name] if isinstance(value, dict) else getattr(value, name)


class Location:
    """The path of the object that an answer holds, such as `/runs/{run.run_id}`: names are members of the answer."""

    def __init__(self, template: str) -> None:
        self._parts = [
            (text, name.split(".")) for text, name, _, _ in Formatter().parse(template) if name is not None
        ]

    def of(self, answer: Any) -> str:
        """Return the path for an answer, a struct or decoded JSON."""
        found = ""
        for text, names in self._parts:
            value = answer
            for name in names:
                value = member(value, name)
            found += text + (value if _UNRESERVED.fullmatch(value) else quote(value, safe=""))
        return found


#: Text that `quote` does not change (RFC 3986, section 2.3).
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII)
