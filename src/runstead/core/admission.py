"""Admission of new work: how long it would wait. Times are seconds of a clock that never runs backwards.

A queue that is longer than what can be served soon delays everything that is accepted, and callers repeat what they no
longer wait for. So new work is refused by its expected wait, not by the number of commands that wait.
"""

from collections.abc import Hashable
from typing import Final

from runstead.core import limits

#: The weight of the newest group in the mean time of a command.
_WEIGHT: Final = 0.25


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


class Bursts:
    """Bursts of new work, which a calm server accepts: many clients send some hundred requests at once, and are no
    overload. A caller has one burst, and the next one after a calm time.
    """

    __slots__ = ("_callers",)

    def __init__(self) -> None:
        self._callers: dict[
            Hashable, tuple[float, float]
        ] = {}  # caller → begin of its burst, its last long wait

    def admits(self, caller: Hashable, expected_s: float, now: float) -> bool:
        """Return whether new work with this long expected wait is part of a burst."""
        began, last = self._callers.get(caller, (now, now))
        if now - last > limits.admission_calm_s:
            began = now
        if caller not in self._callers and len(self._callers) >= limits.admission_credentials_max:
            self._callers.clear()
        self._callers[caller] = began, now
        return now - began < limits.admission_burst_s and expected_s <= limits.admission_burst_wait_s_max


class LoopLag:
    """How long the event loop takes to reach a callback that is due: the least of the last measurements.

    So one long callback does not count, but a loop that has too much to do does. A loop whose thread gets little of the
    processor is late because other programs want it: refusing requests would not help.
    """

    __slots__ = ("_lags", "seconds")

    def __init__(self) -> None:
        self._lags = [0.0] * limits.admission_lags
        self.seconds = 0.0

    def measured(self, late_s: float, busy: float) -> None:
        """A callback ran `late_s` after its time. `busy`: the loop's share of a processor since the last one, 0 to 1."""
        self._lags = [*self._lags[1:], max(late_s, 0.0) if busy >= limits.admission_busy_min else 0.0]
        self.seconds = min(self._lags)
