"""Detect access tokens and passwords, refuse them in settings, and redact them in messages.

In: anything that a user may have put a token into by mistake, and messages of libraries.
Out: text without any token.

>>> hidden("GET https://ada:secret@mirror/x failed for hf_" + 34 * "x")
'GET https://***@mirror/x failed for hf_***'

A token belongs in the environment variable HF_TOKEN, in Colab's secrets or in `hf auth login`; only
huggingface_hub reads it there. A parameter is the wrong place for it: papermill writes parameters
into the executed notebook, and everybody on a machine can see its command lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from fgkit.errors import ConfigError

_TOKEN = re.compile(r"(?<![A-Za-z0-9])(hf|api_org)_(?:oauth_|jwt_)?[A-Za-z0-9]{30,}[\w.-]*")
_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# A variable shorter than this is not a token, and redacting it would garble ordinary text.
_SHORTEST = 8
_NAME = re.compile(r"token|password|passwd|secret|api_?key|credential", re.IGNORECASE)
REMEDY = (
    "Take it out, revoke it at https://huggingface.co/settings/tokens, and give a new one as the "
    "environment variable HF_TOKEN (in Colab: the key icon on the left)."
)


def kind(text: str) -> str | None:
    """Name the secret in a text: `an access token`, `an address with a password`, or None."""
    if _TOKEN.search(text) or any(token in text for token in _own()):
        return "an access token"
    return "an address with a password" if _ADDRESS.search(text) else None


def hidden(text: str) -> str:
    """Replace tokens and passwords in a text by `***`; for messages that libraries wrote."""
    for token in _own():
        text = text.replace(token, "***")
    return _ADDRESS.sub(r"\1***@", _TOKEN.sub(r"\1_***", text))


def asks_for_one(name: str) -> bool:
    """Tell whether a parameter's name suggests a secret value, as `hf_token` does."""
    return bool(_NAME.search(name))


def scrub(error: BaseException) -> BaseException:
    """Redact tokens and passwords in an error and in the errors that caused it, and return it.

    The causes matter because a notebook's traceback shows them as well.
    """
    for link in _chain(error):
        link.args = tuple(hidden(part) if isinstance(part, str) else part for part in link.args)
        # An OSError shows these attributes instead of its args.
        for name in ("strerror", "filename", "filename2"):
            if isinstance(part := getattr(link, name, None), str):
                setattr(link, name, hidden(part))
    return error


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Refuse a command line that contains a token or a password, without repeating it.

    Args:
        arguments: the arguments as typed, without the program's name.

    Raises:
        ConfigError: an argument contains a secret; the message says which, and the remedy.
    """
    problems = []
    for number, (previous, argument) in enumerate(zip(["", *arguments], arguments), 1):
        if secret := kind(argument):
            is_option = previous.startswith("-") and not kind(previous)
            after = f" (after {previous})" if is_option else ""
            problems.append(f"argument {number}{after} holds {secret}")
    if problems:
        raise ConfigError(
            f"{'; '.join(problems)}. A command line is seen by everybody on this machine and stays "
            f"in the shell's history. {REMEDY}"
        )


def refuse_endpoint() -> None:
    """Refuse an HF_ENDPOINT that contains a password: the client's messages repeat the address.

    Raises:
        ConfigError: HF_ENDPOINT contains a secret.
    """
    from huggingface_hub import constants

    if secret := kind(constants.ENDPOINT):
        raise ConfigError(
            f"HF_ENDPOINT holds {secret}, which errors and logs would show. Set it to the address "
            "alone; the token goes into HF_TOKEN."
        )


def _own() -> list[str]:
    """Return the tokens in this process's environment, whatever they look like."""
    return [
        token for name in _VARIABLES if len(token := os.environ.get(name, "").strip()) >= _SHORTEST
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and, once each, every error that it was raised from or while handling."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            pending += [link.__cause__, link.__context__]
            yield link
