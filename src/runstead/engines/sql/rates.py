"""The buckets of rates, in the transaction of a claim that no other claim of the project runs beside. Projects without
rates run none of these statements.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from runstead.core import limits
from runstead.core.queue.concurrency import BucketName, ConcurrencySlots
from runstead.core.queue.rate import Bucket, full_at, has_token_at, taken, tokens
from runstead.core.runs.run import Run
from runstead.engines.sql.steps import Steps, execute, execute_many, select


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


def load_tokens(slots: ConcurrencySlots, now: int) -> Steps[None]:
    """Note the tokens of all rates, but for those of concurrency keys. `now` in ms."""
    names = [BucketName(project_id, target, "") for project_id, target in slots.rates]
    if not names:
        return
    found = yield from stored_buckets(names)
    for name in names:
        rate = slots.rates[name[:2]]
        slots.note_tokens(name.project_id, name.target, tokens(rate, found.get(name, Bucket()), now))


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
    """Take the tokens of claimed runs from their buckets, and delete buckets that are full again."""
    if not slots.rates:
        return
    counts = Counter(
        name for run in runs for name in slots.buckets(run.project_id, run.target, run.concurrency_key)
    )
    if not counts:
        return
    names = sorted(counts)
    found = yield from stored_buckets(names)
    rows = []
    for name in names:
        rate = slots.rates[name[:2]]
        bucket = taken(rate, found.get(name, Bucket()), counts[name], now)
        token_at = has_token_at(rate, bucket)
        rows.append(
            {
                **name._asdict(),
                **bucket._asdict(),
                "empty_until": token_at if token_at > bucket.at else None,
                "full_at": full_at(rate, bucket),
            }
        )
    yield from execute_many("put_rate_bucket", rows)
    for project_id in sorted({name.project_id for name in names}):
        most = limits.rate_buckets_dropped_max
        yield from execute("drop_full_buckets", project_id=project_id, now=now, limit=most)
