"""Progress and named values, which show others how far a run is."""

import re
from typing import Any, Final

import msgspec

from runstead.sdk.durable.branch import running_step
from runstead.sdk.durable.compensations import Compensations
from runstead.sdk.durable.history import PROGRESS, VALUE
from runstead.sdk.routes.call import members

#: The server's bounds; see docs/bounds.md.
_MESSAGE_CHARS: Final = 512
_VALUES: Final = 64
_VALUE_BYTES: Final = 16 * 1024
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")


class Reports(Compensations):
    """The part of a context that reports progress and values.

    A replay reports nothing of the parts that an earlier try has passed: what it reported later stays. Work that is
    done again, since the try ended within it, is reported again.
    """

    async def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Show how far the run is: a fraction from 0 to 1, and a message for people."""
        if self._is_replayed():
            return
        share = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        value = members(fraction=share, message=None if message is None else message[:_MESSAGE_CHARS])
        self._emit_custom(PROGRESS, value)
        await self.drain()

    async def set(self, name: str, value: Any) -> None:
        """Store a named value of the run."""
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"A value's name has 1 to 128 characters and no controls: {name!r}")
        encoded = msgspec.json.encode(value)
        if len(encoded) > _VALUE_BYTES:
            raise ValueError(
                f"The value {name!r} has {len(encoded):,} bytes of JSON, and at most {_VALUE_BYTES:,} are stored:"
                " store it as an artifact or as the output"
            )
        if self._is_replayed():
            return
        names = self._history.value_names
        if len(names) >= _VALUES and name not in names:
            raise ValueError(f"A run has at most {_VALUES} values: put several into one object, not {name!r}")
        names.add(name)
        named = {"name": name, "value": msgspec.Raw(encoded)}
        self._emit_custom(VALUE, named)
        await self.flush()

    def skips_log(self) -> bool:
        return self.suspending or self._is_replayed()  # a `finally` block runs again at the real end

    def _is_replayed(self) -> bool:
        """Whether an earlier try has passed this place of the handler."""
        branch = self.branch
        if branch is None or running_step() is not None:
            return False
        return self._history.has_passed(branch.prefix, branch.count)
