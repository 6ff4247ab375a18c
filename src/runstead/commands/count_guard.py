"""The guard of how many records of a kind a project may have."""

from runstead.core.errors import Error
from runstead.ports.store import Count


def at_most(most: int, things: str, code: str) -> Count:
    """Return a guard that refuses, with this code, a record beyond the `most` ones of a project."""

    def guard(count: int) -> None:
        if count >= most:
            raise Error(code, f"A project has at most {most} {things}")

    return guard
