"""What a model card says of each function: its arguments, an example of a call and an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fgkit import prompts
from fgkit.calls import Call
from fgkit.markdown_text import code, plain


def count(functions: Sequence[Mapping[str, Any]]) -> str:
    """Write how many functions there are, such as `3 functions`."""
    if not functions:
        return "an app's functions"
    return f"{len(functions)} function{'s' * (len(functions) != 1)}"


def arguments(function: Mapping[str, Any]) -> str:
    """Write each argument of a function with its type; optional ones in italics."""
    schema = function.get("parameters") or {}
    required = schema.get("required") or []
    parts = []
    for name, inner in (schema.get("properties") or {}).items():
        declared = inner.get("type")
        label = " or ".join(declared) if isinstance(declared, list) else str(declared or "any")
        part = f"{code(name)} {plain(label)}"
        parts.append(part if name in required else f"*{part}*")
    return ", ".join(parts) or "none"


def example_call(functions: Sequence[Mapping[str, Any]]) -> Call | None:
    """Make up a call of the first function; its values only show where values go."""
    if not functions:
        return None
    schema = functions[0].get("parameters") or {}
    properties = schema.get("properties") or {}
    names = schema.get("required") or list(properties)
    return Call(functions[0]["name"], {name: _example_value(properties[name]) for name in names})


def as_code(call: Call | None) -> str:
    """Write a call as a programmer would, such as `paint(color="red")`."""
    if call is None:
        return ""
    values = [
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items()
    ]
    return f"{call.name}({', '.join(values)})"


def as_answer(call: Call | None) -> str:
    """Write a call as the model does, up to the token that ends its turn."""
    if call is None:
        return ""
    return prompts.completion([call]).removesuffix("<start_function_response>")


def _example_value(schema: dict[str, Any]) -> object:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = declared[0]
    if schema.get("enum"):
        return schema["enum"][0]
    if declared == "array":
        return [_example_value(schema["items"])] if "items" in schema else []
    if declared == "object":
        properties = schema.get("properties") or {}
        return {name: _example_value(inner) for name, inner in properties.items()}
    scalars: dict[object, object] = {"integer": 1, "number": 0.5, "boolean": True}
    return scalars.get(declared, "…")
