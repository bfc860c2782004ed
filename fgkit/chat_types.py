"""Types of what is said to and by the model: tool declarations, messages and the calls in them.

They describe plain dictionaries, as JSON files hold them and `apply_chat_template` takes them,
after they have been checked. What a user's file holds before it is checked is a `JsonValue`.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

# Parsed JSON that nobody has checked yet: the code that reads it narrows it with `isinstance`.
JsonValue = Any
JsonObject = dict[str, Any]


class JsonSchema(TypedDict, total=False):
    """A JSON schema in fgkit's form: one lower-case type, local references written out.

    Other keywords of JSON Schema are kept and validated, but the model is not shown them.
    """

    type: str
    description: str
    enum: list[str]
    nullable: bool
    properties: dict[str, JsonSchema]
    required: list[str]
    items: JsonSchema


class FunctionDeclaration(TypedDict):
    """The name, description and parameters of one function."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[JsonSchema]


class ToolDeclaration(TypedDict):
    """One tool as OpenAI and Hugging Face write it, and as `load_tools` returns it."""

    type: Literal["function"]
    function: FunctionDeclaration


class FunctionCall(TypedDict):
    """The function that a call names, and its arguments as an object."""

    name: str
    arguments: JsonObject


class ToolCall(TypedDict):
    """One call in an assistant message."""

    type: Literal["function"]
    function: FunctionCall


class TextPart(TypedDict):
    """One part of a message whose content is a list."""

    type: Literal["text"]
    text: str


class Message(TypedDict, total=False):
    """One message of a conversation, in the form that `prompts.render` takes.

    `role` is always there: developer or system, user, assistant (or model) or tool. A tool message
    may give its content as an object or a list of {"name", "response"} objects.
    """

    role: str
    content: str | list[TextPart] | list[JsonObject] | JsonObject | None
    name: str
    tool_calls: list[ToolCall]
