"""Hand-written domain files, expanded: slots filled, tools shuffled and renamed, distractors and
refusals put in.

In: `domains/*.json`, each a handful of tools with sentences that call them. Out: `RequestSet`s.

    {"domain": "library", "tools": [...],
     "pools": {"title": ["Kindred", ...], "n": [["two", 2], ...]},
     "rows": [{"say": "renew {title}",
               "calls": [{"name": "renew", "arguments": {"title": "{title}"}}]},
              {"say": "renew a book", "calls": [], "answer": "Which book?"},
              {"turns": [user, assistant with calls, tool], "answer": "Done."}]}

A pool's entry is a value, or what the user says and the value in the call.

>>> sets = expand(read_domains(Path("corpus/domains")), rounds=3, chance=random.Random(1))
"""

from __future__ import annotations

import copy
import datetime
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import names, wording
from .bfcl_rows import alike
from .refusals import refusal
from .sets import RequestSet, answered

SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
STYLES = ("template",) * 10 + ("flutter_gemma", "litert_lm")
TRIGGER = "You are a model that can do function calling with the following functions"
SMALL_TALK = (
    ("good morning", "Good morning! What can I do for you?"),
    ("hi there", "Hello! How can I help?"),
    ("who are you?", "I am an assistant that can call functions for you."),
    ("that was great", "Glad to hear it!"),
    ("ok", "Alright."),
    ("never mind", "No problem."),
    ("you are funny", "Thank you!"),
    ("hmm let me think", "Take your time."),
    ("tell me a joke", "I'm better at calling functions than at jokes."),
    ("how are you doing today?", "I'm fine, thank you. How can I help?"),
    ("write me a poem about autumn", "I can't write poems here."),
    ("what's the meaning of life?", "That is not something I can answer."),
    ("how tall is mount everest", "I can't look that up here."),
    ("translate 'cheese' into Finnish", "I can't translate here."),
    ("see you tomorrow", "See you!"),
    ("cheers mate", "Any time!"),
    ("are you a robot", "I am a language model."),
)
_LINKS = (
    " and ",
    ", and ",
    ". Also, ",
    " and also ",
    ", then ",
    ". After that ",
    "; ",
    ". And ",
    " + ",
    ". Oh, and ",
    " & ",
)


def read_domains(folder: Path) -> list[dict]:
    """The domain files of a folder in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def expand(domains: Sequence[dict], rounds: int, chance: random.Random) -> Iterator[RequestSet]:
    """Make sets of requests, for each domain one or two in every round.

    Args:
        domains: from `read_domains`.
        rounds: how often each domain is gone through; its sentences meet other values and other
            tools each time.
        chance: where every choice comes from.
    """
    for turn in range(rounds):
        for domain in domains:
            rows = chance.sample(domain["rows"], len(domain["rows"]))
            half = len(rows) // 2 if len(rows) > 16 else len(rows)
            for part, start in enumerate(range(0, len(rows), half)):
                if len(found := rows[start : start + half]) > 3:
                    name = f"{domain['domain']}/{turn}.{part}"
                    yield _one_set(domain, found, domains, name, chance)


def _one_set(
    domain: dict, rows: list[dict], domains: Sequence[dict], name: str, chance: random.Random
) -> RequestSet:
    whole = chance.random() < 0.6
    tools = copy.deepcopy(domain["tools"])
    if not whole:
        tools = chance.sample(tools, chance.randint(1, len(tools) - 1))
    own = {tool["function"]["name"] for tool in tools}
    tools += _distractors(domain, tools, domains, chance)
    chance.shuffle(tools)
    requests, missed = [], 0
    singles = [
        row
        for row in rows
        if len(row.get("calls", ())) == 1 and "say" in row and row["calls"][0]["name"] in own
    ]
    for row in rows:
        called = {call["name"] for call in _all_calls(row)}
        if called - own:
            if "say" in row and not called & own and missed < 2 and chance.random() < 0.25:
                missed += 1
                said, _ = filled(row, domain["pools"], chance)
                requests.append(
                    [{"role": "user", "content": said}, answered((), refusal(tools, chance))]
                )
        elif called or whole:
            if row in singles and len(singles) > 2 and chance.random() < 0.12:
                requests.append(_joined(row, chance.choice(singles), domain["pools"], chance))
            else:
                requests.append(conversation(row, domain["pools"], chance))
    requests += _strangers(domain, tools, domains, chance)
    one = RequestSet(name, tools, requests, chance.choice(STYLES))
    if one.style == "flutter_gemma":  # the plugin sends one turn and its own developer text
        one.requests = [messages for messages in requests if len(messages) == 2]
    elif chance.random() < 0.15:
        one.developer = _dated(chance)
    return names.renamed(one, chance)


def _all_calls(row: dict) -> Iterator[dict]:
    yield from row.get("calls", ())
    for turn in row.get("turns", ()):
        yield from turn.get("calls", ())


def _distractors(
    domain: dict, tools: list[dict], domains: Sequence[dict], chance: random.Random
) -> list[dict]:
    """Tools of other domains that no request here is meant for."""
    wanted = chance.choice((0, 0, 0, 1, 1, 2)) if chance.random() < 0.95 else 5
    others = [
        tool
        for other in chance.sample(list(domains), min(len(domains), 6))
        if other is not domain
        for tool in other["tools"]
    ]
    found: list[dict] = []
    for tool in chance.sample(others, len(others)):
        if len(found) < wanted and not any(
            alike(tool, one, 0.25) for one in [*domain["tools"], *found]
        ):
            found.append(copy.deepcopy(tool))
    return found


def _strangers(
    domain: dict, tools: list[dict], domains: Sequence[dict], chance: random.Random
) -> list[list[dict]]:
    """Requests that no tool here serves: one of another domain, or small talk."""
    found = []
    other = chance.choice(domains)
    served = {tool["function"]["name"] for tool in tools}
    if (
        other is not domain
        and chance.random() < 0.45
        and not served & {tool["function"]["name"] for tool in other["tools"]}
    ):
        candidates = [row for row in other["rows"] if row.get("calls") and "say" in row]
        if candidates and not any(alike(one, two, 0.22) for one in tools for two in other["tools"]):
            said, _ = filled(chance.choice(candidates), other["pools"], chance)
            found.append([{"role": "user", "content": said}, answered((), refusal(tools, chance))])
    if chance.random() < 0.15:
        said, answer = chance.choice(SMALL_TALK)
        found.append([{"role": "user", "content": said}, answered((), answer)])
    return found


def conversation(row: dict, pools: dict, chance: random.Random) -> list[dict]:
    """A row of a domain file as messages, with values in its slots.

    Args:
        row: one of the file's `rows`.
        pools: the file's.
        chance: where values and wording come from.
    """
    if "turns" not in row:
        said, (calls, answer) = filled(row, pools, chance)
        return [{"role": "user", "content": said}, answered(calls, answer)]
    spoken, values = _drawn(row, pools, chance)
    messages = []
    for turn in row["turns"]:
        if turn["role"] == "user":
            messages.append({"role": "user", "content": _text(turn["content"], spoken)})
        elif turn["role"] == "assistant":
            messages.append(
                answered(
                    _put(turn.get("calls", []), values), _text(turn.get("content", ""), spoken)
                )
            )
        else:
            messages.append(
                {"role": "tool", "name": turn["name"], "content": _put(turn["content"], values)}
            )
    return [
        *messages,
        answered(_put(row.get("calls", []), values), _text(row.get("answer", ""), spoken)),
    ]


def filled(row: dict, pools: dict, chance: random.Random) -> tuple[str, tuple[list[dict], str]]:
    """What the user says, and (calls, plain answer), with one value drawn for each slot."""
    spoken, values = _drawn(row, pools, chance)
    calls = _put(row.get("calls", []), values)
    said = wording.varied(row["say"], spoken, _texts(row.get("calls", [])), chance)
    return said, (calls, _text(row.get("answer", ""), spoken))


def _joined(row: dict, other: dict, pools: dict, chance: random.Random) -> list[dict]:
    """Two requests of one breath, and the calls of both in order."""
    first, (calls, _) = filled(row, pools, chance)
    second, (more, _) = filled(other, pools, chance)
    if calls == more:
        return [{"role": "user", "content": first}, answered(calls)]
    link = chance.choice(_LINKS)
    return [
        {"role": "user", "content": first.rstrip(" .!") + link + second},
        answered([*calls, *more]),
    ]


def _drawn(row: dict, pools: dict, chance: random.Random) -> tuple[dict[str, str], dict[str, Any]]:
    """For every slot of a row what is said and the value that is called."""
    spoken, values = {}, {}
    for slot in dict.fromkeys(SLOT.findall(json.dumps(row, ensure_ascii=False))):
        if slot in pools:
            entry = chance.choice(pools[slot])
            said, value = entry if isinstance(entry, list) and len(entry) == 2 else (entry, entry)
            spoken[slot], values[slot] = str(said), value
    return spoken, values


def _text(text: str, spoken: dict[str, str]) -> str:
    return SLOT.sub(lambda found: spoken.get(found[1], found[0]), text)


def _put(value: Any, values: dict[str, Any]) -> Any:
    """A copy of calls with values in their slots; a slot that is a whole value keeps its value's
    type.
    """
    if isinstance(value, dict):
        return {key: _put(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_put(inner, values) for inner in value]
    if isinstance(value, str):
        if (whole := SLOT.fullmatch(value)) and whole[1] in values:
            return copy.deepcopy(values[whole[1]])
        return SLOT.sub(lambda found: str(values.get(found[1], found[0])), value)
    return value


def _texts(value: Any) -> Iterator[str]:
    """All strings in calls."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _dated(chance: random.Random) -> str:
    """A developer text with a date, as apps write it, around the official sentence."""
    moment = datetime.datetime(2024, 1, 1) + datetime.timedelta(
        minutes=chance.randrange(3 * 365 * 24 * 60)
    )
    stamp, day = moment.isoformat(timespec="seconds"), moment.strftime("%A")
    return chance.choice(
        (
            f"Current date and time given in YYYY-MM-DDTHH:MM:SS format: {stamp}\n"
            f"Day of week is {day}\n{TRIGGER}\n",
            f"{TRIGGER}\nToday is {day}, {moment.date()}.",
            f"Date: {moment.date()}. {TRIGGER}",
            f"{TRIGGER}",
        )
    )
