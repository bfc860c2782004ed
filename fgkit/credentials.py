"""Access tokens and passwords: found, refused where they must not stand, hidden where a text is shown.

In: anything a user may have put a token into by mistake, and messages of libraries. Out: nothing that holds one.

>>> hidden("GET https://ada:secret@mirror/x failed for hf_" + 34 * "x")
'GET https://***@mirror/x failed for hf_***'

A token belongs into the environment variable HF_TOKEN, Colab's secrets or `hf auth login`, and only huggingface_hub reads
it there. Parameters are no place: papermill writes them into the executed notebook, and everybody on a machine can see a
command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from fgkit.errors import ConfigError

_TOKEN = re.compile(r"(?<![A-Za-z0-9])(hf|api_org)_(?:oauth_|jwt_)?[A-Za-z0-9]{30,}[\w.-]*")
_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SHORTEST = 8  # a variable shorter than this is no token, and hiding it would spoil every text
_NAME = re.compile(r"token|password|passwd|secret|api_?key|credential", re.IGNORECASE)
REMEDY = (
    "Take it out, revoke it at https://huggingface.co/settings/tokens, and give a new one as the environment variable "
    "HF_TOKEN (in Colab: the key icon on the left)."
)


def kind(text: str) -> str | None:
    """What a text holds that it must not: `an access token`, `an address with a password`, or None."""
    if _TOKEN.search(text) or any(token in text for token in _own()):
        return "an access token"
    return "an address with a password" if _ADDRESS.search(text) else None


def hidden(text: str) -> str:
    """The text without its tokens and passwords; for whatever a library wrote."""
    for token in _own():
        text = text.replace(token, "***")
    return _ADDRESS.sub(r"\1***@", _TOKEN.sub(r"\1_***", text))


def asks_for_one(name: str) -> bool:
    """Whether a parameter's name says that its value is a token, such as `hf_token`."""
    return bool(_NAME.search(name))


def scrub(error: BaseException) -> BaseException:
    """Hide tokens and passwords in an error and in all that led to it, which a notebook shows with it; gives it back."""
    for each in _chain(error):
        each.args = tuple(hidden(part) if isinstance(part, str) else part for part in each.args)
        for name in (
            "strerror",
            "filename",
            "filename2",
        ):  # what an OSError shows instead of its args
            if isinstance(part := getattr(each, name, None), str):
                setattr(each, name, hidden(part))
    return error


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Refuse a command line that holds a token or a password, without repeating it.

    Args:
        arguments: as typed.
    Raises:
        ConfigError: with the places and the remedy.
    """
    found = [
        f"argument {place}{f' (after {before})' if before.startswith('-') and not kind(before) else ''} holds {what}"
        for place, (before, argument) in enumerate(zip(["", *arguments], arguments), 1)
        if (what := kind(argument))
    ]
    if found:
        raise ConfigError(
            f"{'; '.join(found)}. A command line is seen by everybody on this machine and stays in the "
            f"shell's history. {REMEDY}"
        )


def refuse_endpoint() -> None:
    """Refuse a HF_ENDPOINT with a password in it: the client's messages and logs repeat the address.

    Raises:
        ConfigError: there is one.
    """
    from huggingface_hub import constants

    if what := kind(constants.ENDPOINT):
        raise ConfigError(
            f"HF_ENDPOINT holds {what}, which errors and logs would show. Set it to the address alone; the "
            "token goes into HF_TOKEN."
        )


def _own() -> list[str]:
    """The tokens of this process's environment, whatever they look like."""
    return [
        token for name in _VARIABLES if len(token := os.environ.get(name, "").strip()) >= _SHORTEST
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    open_ends: list[BaseException | None] = [error]
    while open_ends:
        each = open_ends.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            open_ends += [each.__cause__, each.__context__]
            yield each
