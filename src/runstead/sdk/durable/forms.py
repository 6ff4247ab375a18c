"""Forms: questions of a handler that a person or a service fills in, also with secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from runstead.sdk.durable.history import FORM_CALL
from runstead.sdk.durable.step_runner import current_branch
from runstead.sdk.durable.suspension import Form, Suspend, WaitRequest
from runstead.sdk.durable.waits import Waits
from runstead.sdk.errors import RunFailed
from runstead.sdk.models.run import Waiting
from runstead.sdk.models.secret import SecretValue


class Forms(Waits):
    """The part of a context that asks with forms.

    The log has the values of a response without those of secret fields. Each try reads these from the server again.
    """

    async def ask(
        self, title: str, fields: Sequence[Mapping[str, Any]], *, description: str | None = None
    ) -> dict[str, Any]:
        """Ask with a form, and return the values by field; see `Context.ask`."""
        conversation_id = self.run.conversation_id
        if conversation_id is None:
            raise RunFailed(
                "`ctx.ask` needs a run in a conversation: start an agent's run, or create the run with a"
                " conversation_id",
                "NO_CONVERSATION",
            )
        branch, history = current_branch(), self._history
        step_id = self._next_step_id(branch, "form")
        call_id = f"{FORM_CALL}{self._external_id(step_id)}"
        response = history.form_responses.get(call_id)
        if response is None:
            if step_id not in history.started:
                with self.span("wait", "form", step_id):
                    self._start(step_id, "form")
            form = Form(
                conversation_id=conversation_id,
                title=title,
                fields=[dict(field) for field in fields],
                description=description,
            )
            request = WaitRequest(
                reason="input", call_id=call_id, tool_name="form", needs_answer=True, form=form
            )
            raise branch.suspend(Suspend(request))
        if step_id not in history.finished:
            self._finish(step_id, "form")
        if response.is_error:
            raise RunFailed(str(response.result), "FORM_CANCELLED")
        values = dict(response.result["values"])
        if response.result.get("withheld"):
            with branch.running("form"):
                call = self.calls.input_requests.secrets(
                    self.run.run_id, response.result["inputRequestId"], lease_token=self.run.lease_token or ""
                )
                secrets = await self.send(call)
            values |= {name: SecretValue(value) for name, value in secrets.values.items()}
        return values

    async def park(self, request: WaitRequest) -> Waiting:
        """Make the run wait and give its lease back. A repeated form is the same form."""
        if request.form is not None:
            form = request.form
            call = self.calls.input_requests.create(
                form.conversation_id,
                self.run.run_id,
                request.call_id,
                form.title,
                form.fields,
                description=form.description,
                **self.fence,
            )
            await self.send(call)
        return await super().park(request)
