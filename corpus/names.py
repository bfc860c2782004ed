"""Names put out of the model's reach: functions renamed, masked or written in another convention,
descriptions dropped.

A model that has learned to go by names fails where an app's names say little. Hammer (arXiv
2410.04587) masks the names of functions and arguments for a share of the rows, so that the
descriptions must be read; here it is about one set in five.

>>> renamed(one, random.Random(7)).tools[0]["function"]["name"]
'fn_qa7'
"""

from __future__ import annotations

import copy
import random
import re
import string
from typing import Any

from .sets import RequestSet

_MASKS = ("fn_{}", "tool_{}", "func{}", "f_{}", "action_{}", "{}", "op.{}", "call_{}x", "api_{}")
_KEYS = ("arg_{}", "p{}", "param_{}", "x_{}", "value_{}", "{}")


def renamed(one: RequestSet, chance: random.Random) -> RequestSet:
    """The set as it is, or for a share with other names or fewer descriptions.

    Args:
        one: a set; what it holds is replaced by copies.
        chance: where the choice comes from.
    """
    one.tools, one.requests = (
        copy.deepcopy(one.tools),
        copy.deepcopy(one.requests),
    )  # other sets hold the same objects
    draw = chance.random()
    if draw < 0.11:
        _rename(one, {name: _mask(chance, _MASKS) for name in _names(one)})
    elif draw < 0.15:
        _rename(one, {name: _mask(chance, _MASKS) for name in _names(one)})
        _rename_arguments(one, chance)
    elif draw < 0.18:
        _rename_arguments(one, chance)
    elif draw < 0.26:
        _rename(one, {name: camel(name) for name in _names(one)})
    elif draw < 0.31:
        prefix = re.sub(r"\W", "_", one.name.split("/")[0])
        _rename(one, {name: f"{prefix}{chance.choice('._')}{name}" for name in _names(one)})
    elif draw < 0.35:
        _rename(one, {name: snake(name) for name in _names(one)})
    if draw > 0.35 and chance.random() < 0.12:
        for tool in one.tools:
            for schema in tool["function"].get("parameters", {}).get("properties", {}).values():
                if "enum" not in schema:
                    schema.pop("description", None)
    return one


def camel(name: str) -> str:
    """`renew_book` as `renewBook`."""
    first, *rest = re.split(r"[_.\-]+", name)
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def snake(name: str) -> str:
    """`renewBook` as `renew_book`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace(".", "_").lower()


def _names(one: RequestSet) -> list[str]:
    return [tool["function"]["name"] for tool in one.tools]


def _mask(chance: random.Random, shapes: tuple[str, ...]) -> str:
    core = chance.choice(string.ascii_lowercase) + "".join(
        chance.choices(string.ascii_lowercase + string.digits, k=chance.randint(1, 4))
    )
    return chance.choice(shapes).format(core)


def _rename(one: RequestSet, new: dict[str, str]) -> None:
    if len(set(new.values())) < len(new):
        return
    for tool in one.tools:
        tool["function"]["name"] = new[tool["function"]["name"]]
    for message in _messages(one):
        if message["role"] == "tool":
            message["name"] = new[message["name"]]
        for call in message.get("tool_calls", ()):
            call["function"]["name"] = new[call["function"]["name"]]


def _rename_arguments(one: RequestSet, chance: random.Random) -> None:
    """New names for the arguments that have a description; those of inner objects stay."""
    new: dict[str, dict[str, str]] = {}
    for tool in one.tools:
        function = tool["function"]
        properties = function.get("parameters", {}).get("properties", {})
        names = {
            key: _mask(chance, _KEYS) if "description" in schema else key
            for key, schema in properties.items()
        }
        if len(set(names.values())) < len(names):
            names = {key: key for key in properties}
        new[function["name"]] = names
        if properties:
            function["parameters"] = copy.deepcopy(function["parameters"])
            function["parameters"]["properties"] = {
                names[key]: schema for key, schema in properties.items()
            }
            if required := function["parameters"].get("required"):
                function["parameters"]["required"] = [names[key] for key in required]
    for message in _messages(one):
        for call in message.get("tool_calls", ()):
            known = new[call["function"]["name"]]
            call["function"]["arguments"] = {
                known[key]: value for key, value in call["function"]["arguments"].items()
            }


def _messages(one: RequestSet) -> Any:
    return (message for messages in one.requests for message in messages)
