"""The part of the driver that makes runs wait, and sends them results, signals and answers."""

from msgspec.structs import replace

from runstead.core.conversations.input_request import InputRequest, InputResponse
from runstead.core.errors import not_found
from runstead.core.runs import transitions
from runstead.core.runs.compensation import Compensation, WantedCompensations
from runstead.core.runs.signal import Signal, WantedSignals
from runstead.core.runs.transition import Receipt, Transition, Want
from runstead.core.runs.transitions import NO_FENCE


class SteeringDriver:
    """A base of `StoreDriver`, which has `change` and the ids."""

    async def wait(
        self,
        run_id,
        reason="tool",
        *,
        call="call-1",
        resume_at=None,
        expires_at=None,
        fence=NO_FENCE,
        waiting_run_id=None,
        events=(),
        release=False,
    ):
        def rule(to):
            return transitions.wait(
                to.run,
                now=to.now,
                reason=reason,
                tool_call_id=call,
                tool_name=None,
                resume_at=resume_at,
                expires_at=expires_at,
                fence=fence,
                awaited_run_id=waiting_run_id,
                events=events,
                signals=to.signals.oldest,
                release=release,
            )

        names = tuple(each.name for each in events)
        want = Want(signals=WantedSignals(names=names)) if events else None
        return await self.change(run_id, rule, want)

    async def resume(self, run_id, kind="tool_result", *, call="call-1", result="done", idempotency=None):
        receipt = None if call is None else Receipt(call, f"{kind}:{result}".encode())

        def rule(to):
            return transitions.resume(
                to.run,
                now=to.now,
                kind=kind,
                tool_call_id=call,
                result=result,
                is_error=False,
                receipt=receipt,
                earlier=to.receipt,
            )

        return await self.change(run_id, rule, Want(receipt_key=call), idempotency)

    async def signal(self, run_id, name="paid", payload=b"1", *, key=None):
        self._signals += 1
        signal_id = f"sig-{self._signals}"

        def rule(to):
            new = Signal(
                number=0,
                id=signal_id,
                name=name,
                payload=payload,
                created_at=to.now,
                key=key,
                digest=name.encode() + payload,
            )
            return transitions.send_signal(to.run, new, to.signals.sent, now=to.now)

        return await self.change(run_id, rule, Want(signals=WantedSignals(sends=True, key=key)))

    async def signals(self, run_id, *, taken=None):
        """[(number, name, payload, event that gave it)] of a run."""
        page = await self.runs.signals((await self.row(run_id)).seq, 0, 10_000, 1 << 40, taken=taken)
        return [(one.number, one.name, one.payload, one.event_id) for one in page.rows]

    async def compensate(self, run_id, target="task:undo", *, key=None, fence=NO_FENCE, config=b'{"n":1}'):
        """Register a compensation."""

        def rule(to):
            new = Compensation(
                number=0,
                target=target,
                title=None,
                config=config,
                input=None,
                key=key,
                digest=target.encode() + (config or b""),
                created_at=to.now,
            )
            return transitions.register_compensation(to.run, new, to.compensations, now=to.now, fence=fence)

        return await self.change(run_id, rule, Want(compensations=WantedCompensations(key)))

    async def compensations(self, run_id):
        """[(number, target, whether it has a run)] of a run."""
        found = await self.runs.compensations((await self.row(run_id)).seq)
        return [(one.number, one.target, one.child_seq is not None) for one in found]

    async def ask(self, run_id, request_id, *, call="call-1", title="Who?", expires_at=None, **members):
        given = {"fields": b"[]", "salt": b"salt", "conversation_id": "c-1", "created_at": 0}
        given |= {"requested_responder_type": "human"}
        asked = InputRequest(
            id=request_id,
            run_seq=0,
            run_id=run_id,
            tool_call_id=call,
            title=title,
            expires_at=expires_at,
            **(given | members),
        )

        def rule(to):
            return transitions.ask_input(
                to.run,
                now=to.now,
                request=replace(asked, run_seq=to.run.seq),
                known=to.input_request,
                earlier=to.receipt,
                fence=NO_FENCE,
            )

        return await self.change(run_id, rule, Want(receipt_key=f"input:{call}", input_call=call))

    async def respond(self, run_id, request_id, values=b'{"a":1}', *, secrets=None, idempotency=None):
        response = InputResponse(f"{request_id}-answer", "user", "ada", values, b"[]", values, 0, secrets)

        def rule(to):
            if to.input_request is None:
                raise not_found("Input request")
            return transitions.respond(to.run, now=to.now, request=to.input_request, response=response)

        return await self.change(run_id, rule, Want(input_request_id=request_id), idempotency)

    async def secrets(self, run_id, request_id):
        """The stored secrets of a response."""
        found = []

        def rule(to):
            found.append(to.input_request.response.secrets)
            return Transition(to.run)

        await self.change(run_id, rule, Want(input_request_id=request_id, input_secrets=True))
        return found[-1]

    async def cancel_input(self, run_id, request_id):
        def rule(to):
            if to.input_request is None:
                raise not_found("Input request")
            return transitions.cancel_input(to.run, now=to.now, request=to.input_request)

        return await self.change(run_id, rule, Want(input_request_id=request_id))
