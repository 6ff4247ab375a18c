"""Rates: how many runs of a target, or of each of its concurrency keys, may start in a time, or how many tokens of models
they may use. Token buckets, in integers.
"""

from typing import Literal, NamedTuple

import msgspec

from runstead.core import limits

Unit = Literal["runs", "tokens"]


class Rate(msgspec.Struct, frozen=True):
    """In any t seconds at most `limit` + `limit` / `period_seconds` * t runs start: of the target, or `per_key` of each
    concurrency key. Runs without a key have a bucket of their own.

    With the unit `tokens`, usage is taken from the bucket when it is stored, and may leave less than nothing. No run
    starts without a token in the bucket. So this is the bound of the tokens that are used, but for those that runs use
    which had started before the bucket was empty.
    """

    limit: int
    period_seconds: int
    per_key: bool = False
    unit: Unit = "runs"

    @property
    def period_ms(self) -> int:
        """What a token is worth. Each millisecond gives back `limit`, so `period_ms` gives back `limit` tokens."""
        return self.period_seconds * 1000


class BucketName(NamedTuple):
    """The bucket of a rate. `target`: '' for the whole project. `key`: '' for a rate of the target, and for runs
    without a key.
    """

    project_id: str
    target: str
    key: str


class Used(NamedTuple):
    """Tokens of models that a run used, for the bucket of a rate."""

    bucket: BucketName
    rate: Rate
    tokens: int


class Bucket(NamedTuple):
    """What is missing from a full bucket at the time `at` (ms): more than the limit, if more was used. A token is
    `Rate.period_ms` parts, so nothing is rounded.
    """

    missing: int = 0
    at: int = 0


def bucket_of(rate: Rate, project_id: str, target: str | None, key: str | None) -> BucketName:
    """The bucket that a run with this key takes from. `target`: that of the rate."""
    return BucketName(project_id, target or "", (key or "") if rate.per_key else "")


def refilled(rate: Rate, bucket: Bucket, now: int) -> Bucket:
    """Return the bucket at `now`. A time before that of the bucket counts as that of the bucket."""
    elapsed = max(now - bucket.at, 0)
    return Bucket(max(bucket.missing - elapsed * rate.limit, 0), bucket.at + elapsed)


def tokens(rate: Rate, bucket: Bucket, now: int) -> int:
    """Return how many whole tokens the bucket has at `now`, negative if more were used."""
    return rate.limit - -(-refilled(rate, bucket, now).missing // rate.period_ms)


def taken(rate: Rate, bucket: Bucket, count: int, now: int) -> Bucket:
    """Return the bucket after `count` tokens were taken. It does not check that they were there."""
    found = refilled(rate, bucket, now)
    missing = found.missing + count * rate.period_ms
    return found._replace(missing=min(missing, limits.rate_missing_max))


def has_token_at(rate: Rate, bucket: Bucket) -> int:
    """Return the time (ms) from which the bucket has a token: `bucket.at` if it has one."""
    return _back_at(rate, bucket, (rate.limit - 1) * rate.period_ms)


def full_at(rate: Rate, bucket: Bucket) -> int:
    """Return the time (ms) from which the bucket is full, so that it need not be kept."""
    return _back_at(rate, bucket, 0)


def _back_at(rate: Rate, bucket: Bucket, missing: int) -> int:
    """The first millisecond at which no more than `missing` is missing."""
    return bucket.at + max(-((missing - bucket.missing) // rate.limit), 0)
