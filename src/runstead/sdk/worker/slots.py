"""How the workers of one process share what it may do at a time."""

import asyncio


class WorkerSlots:
    """`most` runs at a time, for any number of workers. Of those that want a place whoever holds the fewest is served
    first, and one is kept for each worker that holds none: a project with much to do hides no other.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        #: Runs without a place: only their completions are under way.
        self.completing = 0
        self._seats: list[SlotShare] = []

    def seat(self) -> "SlotShare":
        """For one more worker. ValueError where there are more workers than places."""
        if len(self._seats) == self.most:
            raise ValueError(f"{self.most} runs at a time are not enough for {self.most + 1} workers")
        self._seats.append(SlotShare(self))
        return self._seats[-1]

    @property
    def shared(self) -> bool:
        return len(self._seats) > 1

    def offered(self, seat: "SlotShare") -> int:
        """How many places a worker may take now."""
        others = [one for one in self._seats if one is not seat]
        if any(one.wants and one.held < seat.held for one in others):
            return 0
        kept = sum(one.held == 0 for one in others)
        return max(0, self.most - seat.held - kept - sum(one.held for one in others))

    def changed(self) -> None:
        for one in self._seats:
            one.look.set()


class SlotShare:
    """One worker's share. `look` is set whenever it may have grown."""

    def __init__(self, places: WorkerSlots) -> None:
        self._places = places
        self.held = 0
        self.wants = False
        self.look = asyncio.Event()

    @property
    def shared(self) -> bool:
        return self._places.shared

    def take(self, most: int) -> int:
        """As many places as there are, and 0 where there is none; they are held until they are given back."""
        self.look.clear()
        taken = min(most, self._places.offered(self))
        self.held += taken
        self.wants = taken == 0
        if taken and self.shared:
            self._places.changed()  # whoever was behind this one may be next
        return taken

    def give(self, count: int) -> None:
        if count:
            self.held -= count
            self._places.changed()

    def give_early(self) -> bool:
        """Give one back whose run is done but for its completion, until `completed`. False where as many of those are
        under way as there are places: then it is held until the run has ended.
        """
        if self._places.completing >= self._places.most:
            return False
        self._places.completing += 1
        self.give(1)
        return True

    def completed(self) -> None:
        """What `give_early` was for is done."""
        self._places.completing -= 1

    def leave(self) -> None:
        """Want nothing more."""
        self.wants = False
        self._places.changed()
