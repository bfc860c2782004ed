"""Rows from the Berkeley Function-Calling Leaderboard's categories that are *not* live
(Apache-2.0).

In: the folder of the PyPI package `bfcl-eval`, installed with `--no-deps`. Out: `RequestSet`s: each
question alone with its own functions, and neighbours together, so that each one's functions
distract from the others'. The `live_*` categories are never opened here: they are what the taught
base is scored on.

>>> sets = bfcl_sets(Path("packages/bfcl_eval/data"), random.Random(1))
"""

from __future__ import annotations

import ast
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgkit.data_report.similarity import normal, similarity
from fgkit.errors import FgkitError
from fgkit.tools import check_tools, tools_from_json
from fgkit.tools.validation import Checker

from .refusals import refusal
from .sets import RequestSet, request

CATEGORIES = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "simple_java",
    "simple_javascript",
)
EXECUTED = (
    "exec_simple",
    "exec_multiple",
    "exec_parallel",
    "exec_parallel_multiple",
)  # in unused_datasets
IRRELEVANT_TRAINED = 120  # of 240 rows of `irrelevance`; the others are scored on
_TYPES = {
    "dict": "object",
    "hashmap": "object",
    "float": "number",
    "double": "number",
    "long": "integer",
    "short": "integer",
    "byte": "integer",
    "bigint": "integer",
    "tuple": "array",
    "arraylist": "array",
    "set": "array",
    "queue": "array",
    "stack": "array",
    "list": "array",
    "char": "string",
    "any": "string",
    "bool": "boolean",
    "int": "integer",
}
_KEPT = ("type", "description", "enum", "items", "properties", "required")
_PLACES = 25  # questions this far apart are of other subjects


def bfcl_sets(data: Path, chance: random.Random) -> list[RequestSet]:
    """All sets made from the leaderboard.

    Args:
        data: the package's `data` folder.
        chance: where every choice comes from.
    Raises:
        FileNotFoundError: the package is not there.
    """
    rows = [*_answered_rows(data)]
    sets = [
        _alone(row, number)
        for number, row in enumerate(rows)
        if len(row["tools"]) < 4 and chance.random() < 0.12
    ]
    for round_number in range(1):
        sets += _together(rows, f"bfcl-{round_number}", chance)
    sets += _irrelevant(data, rows, chance)
    return [one for one in sets if one.requests]


def _answered_rows(data: Path) -> Iterator[dict]:
    """Each question with its checked functions and the calls expected, in the leaderboard's
    order.
    """
    for category in CATEGORIES:
        answers = {
            row["id"]: row["ground_truth"]
            for row in _lines(data / "possible_answer" / f"BFCL_v4_{category}.json")
        }
        for row in _lines(data / f"BFCL_v4_{category}.json"):
            calls = [
                {"name": name, "arguments": _arguments(accepted)}
                for call in answers[row["id"]]
                for name, accepted in call.items()
            ]
            yield from _checked(row, calls, category)
    old = data / "unused_datasets"
    for category in EXECUTED:
        answers = {
            row["id"]: row["ground_truth"]
            for row in _lines(old / "possible_answer" / f"BFCL_v4_{category}.json")
        }
        for row in _lines(old / "question" / f"BFCL_v4_{category}.json"):
            try:
                calls = [_call_of(text) for text in answers[row["id"]]]
            except (ValueError, SyntaxError, KeyError):
                continue  # an expression and not a literal: nothing to copy from the question
            yield from _checked(row, calls, category)


def _checked(row: dict, calls: list[dict], category: str) -> Iterator[dict]:
    """The row, where its functions can be declared and its calls fit them."""
    turns = row["question"][0] if isinstance(row["question"][0], list) else row["question"]
    if len(turns) != 1 or turns[0]["role"] != "user" or len(turns[0]["content"]) > 420:
        return
    try:
        tools = declared(row["function"])
    except FgkitError:
        return
    checkers = {tool["function"]["name"]: Checker(tool) for tool in tools}
    if all(
        call["name"] in checkers and not list(checkers[call["name"]](call["arguments"]))
        for call in calls
    ):
        yield {"text": turns[0]["content"], "tools": tools, "calls": calls, "category": category}


def declared(functions: list[dict]) -> list[dict]:
    """The leaderboard's functions as checked tool objects.

    Raises:
        FgkitError: a function cannot be declared in FunctionGemma's format.
    """
    tools = tools_from_json(
        [
            {
                "type": "function",
                "function": {
                    "name": function["name"],
                    "description": function["description"]
                    .split("Note that the provided function is in")[0]
                    .strip(),
                    "parameters": _schema(function["parameters"]),
                },
            }
            for function in copy.deepcopy(functions)
        ],
        "BFCL",
    )
    check_tools(tools, "BFCL")
    return tools


def _schema(schema: dict) -> dict:
    kind = str(schema.get("type", "string")).lower()
    found: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    found["type"] = _TYPES.get(kind, kind)
    if found["type"] == "object":
        found["properties"] = {
            name: _schema(inner) for name, inner in schema.get("properties", {}).items()
        }
    if found["type"] == "array":
        found["items"] = (
            _schema(schema["items"])
            if isinstance(schema.get("items"), dict)
            else {"type": "string"}
        )
    if found.get("enum") and found["type"] != "string":
        found.pop("enum")
    return found


def _arguments(accepted: dict) -> dict:
    """For each argument the first value accepted; an argument that may be left out is left out."""
    return {name: _first(values) for name, values in accepted.items() if "" not in values}


def _first(values: Any) -> Any:
    value = values[0] if isinstance(values, list) and values else values
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _first(inner)
            for key, inner in value.items()
            if not (isinstance(inner, list) and "" in inner)
        }
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _call_of(text: str) -> dict:
    """`area(base=3)` as a call.

    Raises:
        ValueError: an argument is no literal, or has no name.
    """
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.Call) or tree.args:
        raise ValueError(text)
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords}
    return {"name": ast.unparse(tree.func), "arguments": json.loads(json.dumps(arguments))}


def _alone(row: dict, number: int) -> RequestSet:
    return RequestSet(f"bfcl-alone/{number}", row["tools"], [request(row["text"], row["calls"])])


def _together(rows: list[dict], name: str, chance: random.Random) -> Iterator[RequestSet]:
    """Neighbours behind the functions of all of them, and among them some whose own functions are
    missing.
    """
    start, number = chance.randrange(3), 0
    while start < len(rows):
        size = chance.choice((2, 3, 3, 4, 4, 5))
        members, tools = [], []
        for row in rows[start : start + size]:
            more = [tool for tool in row["tools"] if tool not in tools]
            if (
                any(alike(one, other) for one in more for other in tools)
                or len(tools) + len(more) > 5
            ):
                continue
            members.append(row)
            tools += more
        start += size
        chance.shuffle(tools)
        one = RequestSet(
            f"{name}/{number}", tools, [request(row["text"], row["calls"]) for row in members]
        )
        for row in _strangers(rows, start, tools, chance):
            one.requests.append(request(row["text"], answer=refusal(tools, chance)))
        number += 1
        yield one


def _strangers(
    rows: list[dict], start: int, tools: list[dict], chance: random.Random
) -> list[dict]:
    """Questions that none of the tools serves: neighbours whose functions are missing, and others
    from far away.
    """
    found = []
    if chance.random() < 0.4:
        found.append(rows[chance.randrange(len(rows))])
    if chance.random() < 0.4 and start < len(rows):
        found.append(rows[min(len(rows) - 1, start + chance.randrange(3))])
    return [
        row
        for row in found
        if not any(alike(one, other, 0.22) for one in row["tools"] for other in tools)
    ]


def _irrelevant(data: Path, rows: list[dict], chance: random.Random) -> Iterator[RequestSet]:
    """The first rows of `irrelevance`, two or three behind the functions of both."""
    found = []
    for row in _lines(data / "BFCL_v4_irrelevance.json")[:IRRELEVANT_TRAINED]:
        try:
            found.append((row["question"][0][-1]["content"], declared(row["function"])))
        except FgkitError:
            continue
    for number, (text, tools) in enumerate(found):
        requests = [request(text, answer=refusal(tools, chance))]
        other = rows[chance.randrange(len(rows))]
        served = (
            chance.random() < 0.6
            and not any(alike(one, two) for one in tools for two in other["tools"])
            and len(other["tools"]) < 4
        )
        if served and similarity(normal(text), normal(other["text"])) < 0.3:
            tools = chance.sample(tools + other["tools"], len(tools + other["tools"]))
            requests.append(request(other["text"], other["calls"]))
        yield RequestSet(f"bfcl-irrelevance/{number}", tools, requests)


def alike(one: dict, other: dict, limit: float = 0.3) -> bool:
    """Whether two tools are so alike that a request for one could be meant for the other."""
    first, second = one["function"], other["function"]
    texts = [normal(f"{tool['name']} {tool.get('description', '')}") for tool in (first, second)]
    return first["name"] == second["name"] or similarity(*texts) >= limit


def _lines(path: Path) -> list[dict]:
    return [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
