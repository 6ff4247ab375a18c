"""A store and memory as its model, which are given the same commands; and what must always hold about both."""

import itertools

import msgspec
from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec.structs import replace

from runstead.commands.check import check
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.runs.transitions import NO_FENCE, Fence
from runstead.core.webhooks.webhook import Webhook, secret_of
from runstead.ports.store import Written
from tests.support.store_driver import PROJECT

EVERYTHING = Webhook(PROJECT, PROJECT, "https://a.test", ("*",), secret_of(bytes(24)), 1, 1)
ENDED = ("status", "completed_at", "duration_ms", "error", "output", "metadata", "latest_event_id")


def shown(outcome):
    """An outcome without the numbers that are an engine's own."""
    if isinstance(outcome, Written):
        transition = outcome.transition
        received = (transition.accepted, transition.duplicate, transition.events, transition.ended)
        # A parent and its child may end in one command: what each engine counted by then is its own.
        alone = replace(outcome.run, descendants_total=0, descendants_active=0)
        others = sorted(shown([*outcome.cancelled, *outcome.compensations]), key=lambda run: run.run_id)
        return shown(alone), received, others
    if isinstance(outcome, list):
        return [shown(one) for one in outcome]
    if isinstance(outcome, tuple):
        return outcome
    if isinstance(outcome, Error):
        return outcome.code
    steps = "/" * outcome.path.count("/")
    return replace(outcome, uid="", seq=0, parent_seq=None, root_seq=None, path=steps)


class EnginePair(RuleBasedStateMachine):
    """Rules are those of a class made of this one: they give commands by `both`."""

    def __init__(self, drivers):
        super().__init__()
        self.tested, self.model, self.clock, self.runner = drivers()
        self.rows = {}  # as the last step left them
        self.logs = {}
        self.tokens = {}  # run → every lease token it ever had, in order
        self.ended = {}  # run → what must never change again
        self.sent = {}  # run → the last append: (events, after)
        self.asked = 0
        for driver in (self.tested, self.model):
            conversation = Conversation("c-1", "p-1", "chat", 1, 1)
            self.runner.run(driver.store.conversations.create(conversation))
            self.runner.run(driver.store.webhooks.create(EVERYTHING, lambda _: None))
        self.names = itertools.count(1)
        self.followed = {}  # run → the events that a follower of its family has received, and its position

    def every_change_of_status_was_delivered_once(self):
        """To a webhook that asked for everything: by both, and the end of each run that has ended."""

        async def received(driver):
            found = await driver.store.webhooks.deliveries(EVERYTHING.project_id, EVERYTHING.id, 100_000)
            return sorted((one.run_id, one.event_type, one.created_at) for one in found)

        events = self.runner.run(received(self.tested))
        assert events == self.runner.run(received(self.model))
        ends = [(run_id, kind) for run_id, kind, _ in events if kind not in {"run.started", "run.waiting"}]
        kept = {(run_id, f"run.{run.status.value}") for run_id, run in self.rows.items() if run.terminal}
        assert len(ends) == len(set(ends))
        assert kept <= set(ends)
        assert not {run_id for run_id, _ in ends} & {i for i, run in self.rows.items() if not run.terminal}

    def teardown(self):
        try:
            self.every_change_of_status_was_delivered_once()
            self.a_store_is_found_sound(self.tested)
        finally:
            self.close()

    def close(self):
        self.runner.run(self.tested.store.close())
        self.runner.run(self.model.store.close())

    def both(self, command):
        """Give a command to both; their outcomes must agree."""
        outcomes = []
        for driver in (self.tested, self.model):
            try:
                outcomes.append(self.runner.run(command(driver)))
            except Error as refused:
                outcomes.append(refused)
        tested, model = outcomes
        assert shown(tested) == shown(model)
        return tested

    def fence(self, run_id, kind):
        run, tokens = self.rows[run_id], self.tokens.get(run_id, [])
        if kind == "none" or (kind == "current" and run.lease_token is None):
            return NO_FENCE
        if kind == "current":
            return Fence(run.attempt, run.lease_token)
        return Fence(None, tokens[0] if tokens else "made up")

    def pick(self, place, likely):
        """A run; three times out of four one for which the command makes sense, where there is one."""
        sensible = [run_id for run_id, run in self.rows.items() if likely(run)] if place % 4 else []
        pool = sensible or list(self.rows)
        return pool[place % len(pool)]

    def move_to(self, moment):
        self.clock.now = max(self.clock.now, moment)

    @invariant()
    def what_must_always_hold(self):
        self.both_hold_the_same_rows()
        self.an_end_is_for_ever()
        self.a_store_is_found_sound(self.model)  # and the tested one is the same
        self.a_key_is_stored_once()
        self.a_run_has_one_live_lease_at_most()
        self.attempts_stay_within_their_limit()
        self.a_request_is_answered_exactly_when_it_says_so()

    def a_request_is_answered_exactly_when_it_says_so(self):
        async def requests(driver):
            return (await driver.store.inputs.page("c-1", None, None, 1_000)).rows

        found = self.runner.run(requests(self.tested))
        model = self.runner.run(requests(self.model))
        assert [replace(one, seq=0, run_seq=0) for one in found] == [
            replace(one, seq=0, run_seq=0) for one in model
        ]
        for one in found:
            assert (one.response is not None) == (one.status == "submitted")

    def both_hold_the_same_rows(self):
        async def look(driver):
            return await driver.rows()

        rows = self.both(look)
        seen = {run.run_id: run for run in rows}
        assert self.rows.keys() <= seen.keys()
        changed = [run_id for run_id, run in seen.items() if self.rows.get(run_id) != run]
        self.rows = seen
        for run_id in changed:
            logs = [self.runner.run(driver.whole_log(run_id)) for driver in (self.tested, self.model)]
            assert logs[0] == logs[1]
            public = self.runner.run(self.tested.log(run_id))
            assert public == [e for e in logs[0] if not e.private]
            self.logs[run_id] = logs[0]
            self.attempts_agree(seen[run_id])
            self.values_agree(seen[run_id])
        if changed:
            self.a_family_log_is_complete_and_unique()

    def a_family_log_is_complete_and_unique(self):
        for run_id, run in self.rows.items():
            received, place = self.followed.get(run_id, ([], 0))
            more, place = self.runner.run(self.tested.family(run_id, place, step=2))
            received = [one for one in received + more if one[0] in self.rows]
            self.followed[run_id] = received, place
            assert (received, place) == self.runner.run(self.model.family(run_id))
            members = [one for one in self.rows.values() if one is run or f"/{run.seq}/" in one.path]
            public = {(m.run_id, e.event_id) for m in members for e in self.logs[m.run_id] if not e.private}
            assert {one[:2] for one in received} == public
            assert len(received) == len(public)
            positions = [one[2] for one in received]
            assert positions == sorted(set(positions))

    def a_key_is_stored_once(self):
        for log in self.logs.values():
            values = [msgspec.json.decode(stored.payload) for stored in log]
            keys = [value["idempotency_key"] for value in values if "idempotency_key" in value]
            assert len(keys) == len(set(keys))

    def attempts_agree(self, run):
        async def ended(driver):
            row = await driver.row(run.run_id)
            return (await driver.runs.attempts(row.seq)).rows

        kept = self.runner.run(ended(self.tested))
        assert kept == self.runner.run(ended(self.model))
        lost = [attempt for attempt in kept if attempt.outcome not in {"parked", "paused", "dispatch_failed"}]
        assert run.attempts_lost == len(lost)
        assert [attempt.attempt for attempt in kept] == sorted({attempt.attempt for attempt in kept})

    def values_agree(self, run):
        """Values are those of the last event of each name."""

        async def values(driver):
            return await driver.runs.values((await driver.row(run.run_id)).seq)

        kept = self.runner.run(values(self.tested))
        assert kept == self.runner.run(values(self.model))
        last = {}
        for stored in self.logs[run.run_id]:
            payload = msgspec.json.decode(stored.payload)
            if payload.get("name") == "run.value":
                last[payload["value"]["name"]] = (payload["value"]["value"], stored.event_id)
        assert {one.name: (msgspec.json.decode(one.value), one.event_id) for one in kept} == last

    def a_store_is_found_sound(self, driver):
        async def violations():
            return [violation async for violation in check(driver.store)]

        assert self.runner.run(violations()) == []

    def an_end_is_for_ever(self):
        for run_id, run in self.rows.items():
            facts = tuple(getattr(run, name) for name in ENDED)
            if run_id in self.ended:
                assert facts == self.ended[run_id]
            elif run.terminal:
                self.ended[run_id] = facts

    def a_run_has_one_live_lease_at_most(self):
        for run_id, tokens in self.tokens.items():
            run = self.rows[run_id]
            assert len(tokens) == len(set(tokens)) == run.attempt
            for token in tokens:
                try:
                    Fence(token=token).check(run)
                except Error:
                    continue
                assert token == tokens[-1] == run.lease_token
            if run.lease_live(self.clock.now):
                assert run.lease_token == tokens[-1]

    def attempts_stay_within_their_limit(self):
        for run in self.rows.values():
            limit = run.backoff_limit
            allowed = limits.attempts_default_after_lease_loss if limit is None else limit
            assert run.attempts_lost <= allowed + run.terminal
            assert run.attempts_lost <= run.attempt
