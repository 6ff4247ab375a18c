"""The part of a store driver that reports usage, with a completion too, and answers budgets."""

import msgspec

from runstead.core.runs import transitions
from runstead.core.runs.append import append, digest
from runstead.core.runs.event import NewEvent
from runstead.core.runs.transition import SPENDING, Want
from runstead.core.runs.transitions import NO_FENCE, Completion
from runstead.core.runs.values import setting_of


class BudgetDriver:
    """See `tests.support.store_driver.StoreDriver`."""

    async def report(self, run_id, tokens=0, *, provider="acme", model="m", fence=NO_FENCE, call=None):
        """Usage of one call of a model, as its worker reports it. With `call` a repeat of it counts once."""
        usage = {"provider": provider, "model": model, "inputTokens": tokens, "outputTokens": 0}
        members = {"type": "CUSTOM", "name": "run.usage", "value": usage}
        payload = msgspec.json.encode(members | ({} if call is None else {"idempotency_key": call}))
        given = NewEvent(
            "CUSTOM",
            payload,
            source="caller",
            key=call,
            digest=None if call is None else digest(payload),
            sets=setting_of("run.usage", payload),
        )

        def rule(to):
            appended = append(
                to.run,
                now=to.now,
                events=(given,),
                expected_previous_event_id=None,
                expected_sequence=None,
                tail=(),
                fence=fence,
                keys=to.event_keys,
            )
            return transitions.counted(appended, to.spending)

        keys = () if call is None else (call,)
        return await self.change(run_id, rule, Want(event_keys=keys, spends=True))

    async def answer_budget(self, run_id, result=True, *, may_raise=True):
        def rule(to):
            return transitions.answer_budget(
                to.run,
                now=to.now,
                tool_call_id=to.run.waiting_tool_call_id or "budget:x",
                answer=transitions.answer_of(result),
                result=result,
                spending=to.spending,
                may_raise=may_raise,
            )

        return await self.change(run_id, rule, SPENDING)

    async def complete(self, run_id, status="completed", *, fence=NO_FENCE, idempotency=None, **members):
        completion = Completion(status=status, **members)
        return await self.change(
            run_id,
            lambda to: transitions.counted_at_end(
                transitions.complete(to.run, now=to.now, completion=completion, fence=fence),
                completion.metadata,
                to.spending,
            ),
            SPENDING,
            idempotency,
        )
