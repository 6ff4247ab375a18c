"""A secret value that a person entered into a form."""

from typing import Any


class SecretValue:
    """The value of a secret field. `get_secret_value()` returns it; its text and its repr hide it.

    It is not JSON, so it cannot become the result of a step or the output of a run.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def get_secret_value(self) -> Any:
        """Return the value."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "SecretValue('**********')"
