"""Token buckets: how many events each name may cause, at once and over time."""

from collections import OrderedDict
from collections.abc import Callable


class TokenBuckets:
    """A bucket for each name, full at first. The `most` names with the latest changes are remembered."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        """`clock` in seconds."""
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (tokens, time), oldest first

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._buckets)

    def tokens(self, name: str, capacity: float, per_s: float) -> float:
        """Return how many tokens the bucket has. It refills with `per_s` tokens a second, up to `capacity`."""
        now = self._clock()
        tokens, at = self._buckets.get(name, (capacity, now))
        return min(capacity, tokens + max(0.0, now - at) * per_s)

    def set(self, name: str, tokens: float) -> None:
        """Set how many tokens the bucket has now. A negative number is a debt."""
        self._buckets[name] = tokens, self._clock()
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
