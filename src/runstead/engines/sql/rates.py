"""The buckets of rates. Those of runs are written in the transaction of a claim that no other claim of the project runs
beside, those of tokens in the transaction that stores usage, under the lock of the project's budgets. So neither waits
for the other. Projects without rates run none of these statements.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.core.queue.rate import (
    Bucket,
    BucketName,
    Rate,
    Used,
    bucket_of,
    full_at,
    has_token_at,
    taken,
    tokens,
)
from runstead.core.runs.run import Run
from runstead.engines.sql.steps import Steps, execute, execute_many, select


class _TokenRate(NamedTuple):
    target: str
    rate_limit: int
    rate_period_seconds: int
    rate_per_key: bool

    @property
    def rate(self) -> Rate:
        return Rate(self.rate_limit, self.rate_period_seconds, bool(self.rate_per_key), "tokens")


class _Stored(NamedTuple):
    project_id: str
    target: str
    key: str
    missing: int
    at: int


def stored_buckets(names: Sequence[BucketName]) -> Steps[dict[BucketName, Bucket]]:
    """The buckets that are not full."""
    columns = {
        "project_ids": [name.project_id for name in names],
        "targets": [name.target for name in names],
        "keys": [name.key for name in names],
    }
    found = yield from select("rate_buckets", _Stored, **columns)
    return {BucketName(*one[:3]): Bucket(one.missing, one.at) for one in found}


def levels(slots: ConcurrencySlots, now: int) -> Steps[dict[BucketName, int]]:
    """The tokens in the buckets of all rates; of rates of concurrency keys, in that of runs without one. `now` in ms."""
    names = [BucketName(project_id, target, "") for project_id, target in slots.rates]
    if not names:
        return {}
    found = yield from stored_buckets(names)
    return {name: tokens(slots.rates[name[:2]], found.get(name, Bucket()), now) for name in names}


def load_tokens(slots: ConcurrencySlots, now: int) -> Steps[None]:
    """Note the tokens of all rates, but for those of concurrency keys. `now` in ms."""
    for name, level in (yield from levels(slots, now)).items():
        slots.note_tokens(name.project_id, name.target, level)


def tokens_of_keys(
    slots: ConcurrencySlots, project_id: str, target: str, keys: Iterable[str], now: int
) -> Steps[Mapping[str, int]]:
    """Key → the tokens of its bucket; nothing if no rate counts the keys of the target."""
    if not slots.rate_per_key(project_id, target):
        return {}
    names = [BucketName(project_id, target, key) for key in keys]
    found = yield from stored_buckets(names)
    rate = slots.rates[project_id, target]
    return {name.key: tokens(rate, found.get(name, Bucket()), now) for name in names}


def take_tokens(slots: ConcurrencySlots, runs: Iterable[Run], now: int) -> Steps[None]:
    """Take the tokens of claimed runs from the buckets of rates of runs, and delete buckets that are full again."""
    if not slots.rates:
        return
    counts = Counter(
        name for run in runs for name in slots.buckets(run.project_id, run.target, run.concurrency_key)
    )
    yield from _take(
        "rate", [Used(name, slots.rates[name[:2]], count) for name, count in counts.items()], now
    )


def token_rates(
    project_id: str, runs: Iterable[Run]
) -> Steps[dict[int, tuple[tuple[BucketName, Rate], ...]]]:
    """Seq → the rates of tokens that count the run, with their buckets. Without the runs that none counts."""
    found = yield from select("token_rates", _TokenRate, project_id=project_id)
    counting = {
        run.seq: tuple(
            (bucket_of(one.rate, project_id, one.target, run.concurrency_key), one.rate)
            for one in found
            if one.target in ("", run.target)
        )
        for run in runs
    }
    return {seq: rates for seq, rates in counting.items() if rates}


def take_used(used: Iterable[Used], now: int) -> Steps[None]:
    """Take used tokens of models from their buckets, and delete buckets that are full again."""
    by_bucket: dict[BucketName, Used] = {}
    for one in used:
        known = by_bucket.get(one.bucket)
        by_bucket[one.bucket] = one if known is None else one._replace(tokens=known.tokens + one.tokens)
    yield from _take("token", list(by_bucket.values()), now)


def _take(kind: Literal["rate", "token"], used: Sequence[Used], now: int) -> Steps[None]:
    """`used`: one for each bucket."""
    if not used:
        return
    found = yield from stored_buckets([one.bucket for one in used])
    rows = []
    for name, rate, count in sorted(used, key=lambda one: one.bucket):
        bucket = taken(rate, found.get(name, Bucket()), count, now)
        token_at = has_token_at(rate, bucket)
        rows.append(
            {
                **name._asdict(),
                **bucket._asdict(),
                "empty_until": token_at if token_at > bucket.at else None,
                "full_at": full_at(rate, bucket),
            }
        )
    yield from execute_many(f"put_{kind}_bucket", rows)
    for project_id in sorted({one.bucket.project_id for one in used}):
        most = limits.rate_buckets_dropped_max
        yield from execute(f"drop_full_{kind}_buckets", project_id=project_id, now=now, limit=most)
