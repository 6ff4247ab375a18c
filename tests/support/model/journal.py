"""How every write happens: planned first, then committed whole, together with the answer to its idempotency key."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse

T = TypeVar("T")
Effect = Callable[[], object]
"""Puts a planned write in place. It cannot fail."""


class Answer(NamedTuple):
    digest: bytes
    status: int
    body: bytes
    created_at: int


class Journal:
    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self._latest = 0
        self.commits = 0
        self._answers: dict[tuple[str, str], Answer] = {}

    def now(self) -> int:
        self._latest = max(self._latest, self.clock())
        return self._latest

    def write(self, idempotency: IdempotencyRecord | None, plan: Callable[[int], tuple[T, Effect]]) -> T:
        """`plan(now)` gives the result and its effect. Where it or the seal raises, nothing has changed."""
        if idempotency is not None:
            self._replay(idempotency)
        now = self.now()
        result, effect = plan(now)
        answer = None if idempotency is None else idempotency.render(result)
        effect()
        if idempotency is not None and answer is not None:
            self._answers[idempotency.owner, idempotency.key] = Answer(idempotency.digest, *answer, now)
        self.commits += 1
        return result

    def forget(self, age_ms: int, limit: int) -> int:
        before = self.now() - age_ms
        old = [key for key, answer in self._answers.items() if answer.created_at < before][:limit]
        for key in old:
            del self._answers[key]
        return len(old)

    def _replay(self, idempotency: IdempotencyRecord) -> None:
        answer = self._answers.get((idempotency.owner, idempotency.key))
        if answer is None:
            return
        if answer.digest != idempotency.digest:
            raise Error("IDEMPOTENCY_KEY_REUSED", "The idempotency key was used for another request")
        raise ReplayedResponse(answer.status, answer.body)
