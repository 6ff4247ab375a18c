"""Sets of runs as bits: which runs of a block have a term, and their durations.

A block is `BLOCK` consecutive seqs; a run's position in it is its offset. In memory a set is an integer whose bit n is
offset n, so sets are combined by one operation. A small set is stored as a list of offsets, a larger one as bits.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final

BLOCK: Final = 4_096
_BYTES: Final = BLOCK // 8
_BITS: Final = [1 << offset for offset in range(BLOCK)]
_OFFSETS_MAX: Final = _BYTES // 2 - 1  # a list is shorter than the bits: the length shows the format


def pack(bits: int) -> bytes:
    return pack_offsets(list(descending(bits))) if bits.bit_count() <= _OFFSETS_MAX else _bytes(bits)


def pack_offsets(offsets: Sequence[int]) -> bytes:
    if len(offsets) <= _OFFSETS_MAX:
        return struct.pack(f"<{len(offsets)}H", *offsets)
    return _bytes(bits_of(offsets))


def unpack(stored: bytes) -> int:
    if len(stored) != _BYTES:
        return bits_of(struct.unpack(f"<{len(stored) // 2}H", stored))
    return int.from_bytes(stored, "little")


def bits_of(offsets: Iterable[int]) -> int:
    return reduce(or_, map(_BITS.__getitem__, offsets), 0)


def _bytes(bits: int) -> bytes:
    return bits.to_bytes(_BYTES, "little")


def descending(bits: int) -> Iterator[int]:
    """The members, largest first."""
    while bits:
        offset = bits.bit_length() - 1
        yield offset
        bits ^= 1 << offset


# Durations are stored as a bit-sliced index: slice n is the set of the runs whose duration has bit n. To compare a
# duration with all those of a block takes one operation per bit.


def pack_durations(durations: Mapping[int, int]) -> bytes:
    """The slices of a block with these durations (offset → ms)."""
    width = max(durations.values(), default=0).bit_length()
    if not width:
        return b""
    rows = [f"{durations.get(offset, 0):0{width}b}" for offset in reversed(range(BLOCK))]
    return b"".join([_bytes(int("".join(column), 2)) for column in zip(*rows, strict=True)][::-1])


def with_durations(stored: bytes, durations: Mapping[int, int]) -> bytes:
    slices = unpack_slices(stored)
    for offset, duration in durations.items():
        slices += [0] * (duration.bit_length() - len(slices))
        position = 1 << offset
        for number, bits in enumerate(slices):
            slices[number] = bits | position if duration >> number & 1 else bits & ~position
    return b"".join(map(_bytes, slices))


def unpack_slices(stored: bytes) -> list[int]:
    return [
        int.from_bytes(stored[start : start + _BYTES], "little") for start in range(0, len(stored), _BYTES)
    ]


def duration_at(slices: Sequence[int], offset: int) -> int:
    return sum((bits >> offset & 1) << number for number, bits in enumerate(slices))


def concatenated_slices(stored: Sequence[bytes]) -> list[int]:
    """The slices of several blocks, concatenated to those of one long block."""
    count = max(map(len, stored), default=0) // _BYTES
    empty = bytes(_BYTES)
    return [
        int.from_bytes(b"".join(one[n * _BYTES : (n + 1) * _BYTES] or empty for one in stored), "little")
        for n in range(count)
    ]


def concatenated(sets: Sequence[int]) -> int:
    """Concatenate the sets of several blocks."""
    return int.from_bytes(b"".join(map(_bytes, sets)), "little")


def split(bits: int, count: int) -> list[int]:
    """Split concatenated sets into those of `count` blocks."""
    whole = bits.to_bytes(count * _BYTES, "little")
    return [int.from_bytes(whole[n * _BYTES : (n + 1) * _BYTES], "little") for n in range(count)]


def longest(slices: Sequence[int], among: int, count: int) -> int:
    """The `count` members of a set with the longest durations; of equal ones the newest."""
    chosen, equal = 0, among
    for bits in reversed(slices):
        larger = chosen | (equal & bits)
        if larger.bit_count() > count:
            equal &= bits
        else:
            chosen, equal = larger, equal ^ (equal & bits)
    needed = count - chosen.bit_count()
    if equal.bit_count() <= needed:
        return chosen | equal
    # Find the newest of the equal ones by bisection.
    low = equal.bit_length()
    step = 1 << low.bit_length()
    while step := step >> 1:
        if low >= step and (equal >> (low - step)).bit_count() <= needed:
            low -= step
    return chosen | (equal >> low << low)


def shorter(slices: Sequence[int], among: int, duration: int, position: int) -> int:
    """The members of a set with a shorter duration, or the same duration and a lower position."""
    less, equal = 0, among
    if duration >> len(slices):
        return among
    for number in reversed(range(len(slices))):
        bits = equal & slices[number]
        if duration >> number & 1:
            less |= equal ^ bits
            equal = bits
        else:
            equal ^= bits
    return less | (equal & ((1 << max(position, 0)) - 1))
