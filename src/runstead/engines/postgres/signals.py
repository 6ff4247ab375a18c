"""The signals that a rule needs, as a transaction finds them: those of the store with its own changes."""

from collections.abc import Mapping

from runstead.core import limits
from runstead.core.runs.signal import FoundSignals, SentSignals, Signal, WantedSignals
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q


async def found_signals(
    connection: Connection, seq: int, want: WantedSignals, changed: Mapping[int, Signal]
) -> FoundSignals:
    """`changed`: number → signal of the run that the transaction adds or takes."""

    async def one(query: str, *arguments: object) -> Signal | None:
        row = await connection.fetchrow(Q[query], seq, *arguments)
        return None if row is None else Signal(*row)

    oldest: dict[str, Signal] = {}
    for name in want.names:
        # Added ones have higher numbers than stored ones.
        added = (each for each in changed.values() if each.name == name and each.taken_at is None)
        signal = await one("oldest_signal", name, list(changed)) or next(added, None)
        if signal is not None:
            oldest[name] = signal
    if not want.sends:
        return FoundSignals(oldest)
    row = await connection.fetchrow(Q["sent_signals"], seq, limits.signals_untaken_max)
    assert row is not None
    latest, untaken = row
    for number, signal in changed.items():
        if number <= latest:
            untaken -= 1  # a stored one changes only when it is taken
        elif signal.taken_at is None:
            untaken += 1
    same = None
    if want.key is not None:
        mine = (each for each in changed.values() if each.key == want.key)
        same = next(mine, None) or await one("signal_by_key", want.key)
    return FoundSignals(oldest, SentSignals(max(latest, *changed, 0), untaken, same))
