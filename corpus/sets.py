"""Sets of requests that share their declared tools, which training computes once, and the text
files they become.

In: tools and requests. Out: rows in fgkit's `messages` format, neighbours of one set together.

>>> call = {"name": "renew", "arguments": {"title": "Kindred"}}
>>> one = RequestSet("library/0", tools, [request("renew Kindred", [call])])
>>> one.lines()[0]["messages"][0]
{'role': 'user', 'content': 'renew Kindred'}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class RequestSet:
    """Requests behind one developer turn.

    Args:
        name: where it comes from; rows of one set carry it as their group.
        tools: OpenAI tool objects in the order in which they are declared.
        requests: message lists, each ending with the answer to learn.
        style: the prompt style that its rows are trained in.
        developer: developer text; empty for the official trigger sentence.
    """

    name: str
    tools: list[dict]
    requests: list[list[dict]] = field(default_factory=list)
    style: str = "template"
    developer: str = ""

    def lines(self) -> list[dict]:
        """The rows as they are written to a file."""
        before = [{"role": "developer", "content": self.developer}] if self.developer else []
        return [
            {"messages": before + messages, "tools": self.tools, "group": self.name}
            for messages in self.requests
        ]


def request(text: str, calls: Sequence[dict] = (), answer: str = "") -> list[dict]:
    """One request and its answer as messages.

    Args:
        text: what the user says.
        calls: {"name", "arguments"} objects in order; none for plain text.
        answer: the plain text.
    """
    return [{"role": "user", "content": text}, answered(calls, answer)]


def answered(calls: Sequence[dict] = (), answer: str = "") -> dict:
    """The assistant's message of calls, or of plain text where there are none."""
    if calls:
        return {
            "role": "assistant",
            "tool_calls": [{"type": "function", "function": dict(call)} for call in calls],
        }
    return {"role": "assistant", "content": answer}
