"""Slots for runs: how the workers of one process share its concurrency."""

import asyncio


class WorkerSlots:
    """`count` slots, each for one run, shared by any number of workers.

    The waiting worker with the fewest slots is served first. One slot is reserved for each worker that has none, so a
    project with many runs does not block another project.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        #: Runs that gave their slot back and whose completion is still being sent.
        self.completing = 0
        self._shares: list[SlotShare] = []

    def share(self) -> "SlotShare":
        """Return the share of another worker. Raise ValueError where there would be more workers than slots."""
        if len(self._shares) == self.count:
            raise ValueError(f"{self.count} runs at a time are not enough for {self.count + 1} workers")
        self._shares.append(SlotShare(self))
        return self._shares[-1]

    @property
    def shared(self) -> bool:
        """Whether several workers have these slots."""
        return len(self._shares) > 1

    def available_to(self, share: "SlotShare") -> int:
        """Return how many slots a worker may take now."""
        others = [one for one in self._shares if one is not share]
        if any(one.waiting and one.held < share.held for one in others):
            return 0
        reserved = sum(one.held == 0 for one in others)
        return max(0, self.count - share.held - reserved - sum(one.held for one in others))

    def notify(self) -> None:
        """Wake the workers that wait for a slot."""
        for one in self._shares:
            one.changed.set()


class SlotShare:
    """The slots of one worker. `changed` is set when more slots may be available to it."""

    def __init__(self, slots: WorkerSlots) -> None:
        self._slots = slots
        self.held = 0
        self.waiting = False
        self.changed = asyncio.Event()

    @property
    def shared(self) -> bool:
        return self._slots.shared

    def take(self, most: int) -> int:
        """Take up to `most` slots, and return how many were available. They are held until `give_back`."""
        self.changed.clear()
        taken = min(most, self._slots.available_to(self))
        self.held += taken
        self.waiting = taken == 0
        if taken and self.shared:
            self._slots.notify()  # another worker may be next now
        return taken

    def give_back(self, count: int) -> None:
        if count:
            self.held -= count
            self._slots.notify()

    def give_back_early(self) -> bool:
        """Give back the slot of a run whose handler is done, before its completion is sent; call `completed` afterwards.

        Return False where as many completions are being sent as there are slots. The slot is then held until the run
        has ended.
        """
        if self._slots.completing >= self._slots.count:
            return False
        self._slots.completing += 1
        self.give_back(1)
        return True

    def completed(self) -> None:
        """Report that the completion of a run whose slot was given back early has been sent."""
        self._slots.completing -= 1

    def stop_waiting(self) -> None:
        self.waiting = False
        self._slots.notify()
