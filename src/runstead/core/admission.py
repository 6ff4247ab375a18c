"""Admission of new work: how long it would wait. Times are seconds of a clock that never runs backwards.

A queue that is longer than what can be served soon delays everything that is accepted, and callers repeat what they no
longer wait for. So new work is refused by its expected wait, not by the number of commands that wait.
"""

from typing import Final

#: The weight of the newest group in the mean time of a command.
_WEIGHT: Final = 0.25

#: How many of the last measurements of the event loop count.
_LAGS: Final = 3


class CommitWait:
    """The expected wait of a command for its commit, by what the last groups took.

    `group_max`: how many commands share a commit. A group that left none waiting could have had as many in the same
    time, so a single command that takes as long as a commit does not count as slow.
    """

    __slots__ = ("_command_s", "_group_max", "_since")

    def __init__(self, group_max: int) -> None:
        self._group_max = group_max
        self._command_s = 0.0
        self._since: float | None = None  # the last group ended then, or the first command came; None: idle

    def began(self, now: float) -> None:
        """A command came, perhaps the first one."""
        if self._since is None:
            self._since = now

    def ended(self, commands: int, now: float, *, more: bool) -> None:
        """A group of commands was committed or refused. `more`: others wait."""
        if self._since is not None and commands:
            took = (now - self._since) / (commands if more else max(commands, self._group_max))
            self._command_s += (took - self._command_s) * _WEIGHT
        self._since = now if more else None

    def expected_s(self, ahead: int, now: float) -> float:
        """Return the expected wait of a command behind `ahead` others. The next group takes the first of them."""
        if ahead < self._group_max or self._since is None:
            return 0.0
        return ahead * self._command_s + now - self._since


class LoopLag:
    """How long the event loop takes to reach a callback that is due: the least of the last measurements.

    So one long callback does not count, but a loop that has too much to do does.
    """

    __slots__ = ("_lags", "seconds")

    def __init__(self) -> None:
        self._lags = [0.0] * _LAGS
        self.seconds = 0.0

    def measured(self, late_s: float) -> None:
        """A callback ran `late_s` after its time."""
        self._lags = [*self._lags[1:], max(late_s, 0.0)]
        self.seconds = min(self._lags)
