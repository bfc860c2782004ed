"""What the model is taught to say where no declared tool fits: short, in many wordings, naming what
it can do.

>>> refusal(tools, random.Random(1))
"Sorry, I can't do that. I can renew book and look up fines."
"""

from __future__ import annotations

import random
import re

_PLAIN = (
    "Sorry, I can't help with that.",
    "I cannot do that with the functions I have.",
    "I'm sorry, that is not something I can do.",
    "None of my functions can do that.",
    "That is beyond what I can do here.",
    "I have no function for that.",
    "Sorry, I have no tool for this.",
    "I can't help with this request.",
    "I am unable to do that here.",
    "Unfortunately I cannot do that.",
    "Sorry, that is outside what I can do.",
    "I can't do that, I'm afraid.",
)
_OPENINGS = (
    "Sorry, I can't do that.",
    "I cannot help with that.",
    "That is not something I can do.",
    "I have no function for that.",
)
_JOINS = ("I can only {}.", "What I can do: {}.", "I can {}.", "My functions are for this: {}.")


def refusal(tools: list[dict], chance: random.Random) -> str:
    """A sentence that says no; for some rows with what the tools are for.

    Args:
        tools: the declared tools.
        chance: where the choice comes from.
    """
    if chance.random() < 0.7 or len(tools) > 3:
        return chance.choice(_PLAIN)
    names = [_words(tool["function"]["name"]) for tool in tools]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return f"{chance.choice(_OPENINGS)} {chance.choice(_JOINS).format(listed)}"


def _words(name: str) -> str:
    """A function's name as words: `getUserInfo` and `get_user_info` become "get user info"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[^A-Za-z0-9]+", " ", spaced).strip().lower()
