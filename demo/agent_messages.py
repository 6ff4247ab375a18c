"""The AG-UI events of an agent: reasoning, tool calls and text."""

import json
from collections.abc import Callable
from typing import Any

from runstead import ThreadContext


class AgentMessages:
    """Emits an agent's events in the order that AG-UI requires, each when it happens."""

    def __init__(self, ctx: ThreadContext, name: str) -> None:
        self.words = 0
        self.reasoning_words = 0
        self._emit = ctx.emit
        self._name = name
        self._calls = 0

    def reason(self, text: str) -> None:
        self.reasoning_words += len(text.split())
        name = {"messageId": f"{self._name}-reasoning"}
        self._emit({"type": "REASONING_START", **name})
        self._message("REASONING_MESSAGE", name | {"role": "reasoning"}, text)
        self._emit({"type": "REASONING_END", **name})

    def text(self, text: str) -> None:
        self.words += len(text.split())
        self._message("TEXT_MESSAGE", {"messageId": f"{self._name}-text", "role": "assistant"}, text)

    def tool_call(self, tool: str, arguments: dict[str, Any], work: Callable[[], Any]) -> Any:
        self._calls += 1
        name = {"toolCallId": f"{self._name}-call-{self._calls}"}
        self._emit({"type": "TOOL_CALL_START", **name, "toolCallName": tool})
        self._emit({"type": "TOOL_CALL_ARGS", **name, "delta": json.dumps(arguments)})
        self._emit({"type": "TOOL_CALL_END", **name})
        result = work()
        content = {"messageId": f"{name['toolCallId']}-result", "content": json.dumps(result), "role": "tool"}
        self._emit({"type": "TOOL_CALL_RESULT", **name, **content})
        return result

    def _message(self, kind: str, start: dict[str, str], text: str) -> None:
        name = {"messageId": start["messageId"]}
        self._emit({"type": f"{kind}_START", **start})
        words = text.split()
        for at in range(0, len(words), 4):
            space = " " if at else ""
            self._emit({"type": f"{kind}_CONTENT", **name, "delta": space + " ".join(words[at : at + 4])})
        self._emit({"type": f"{kind}_END", **name})
