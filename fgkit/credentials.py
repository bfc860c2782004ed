"""Detect access tokens and passwords, refuse them in settings, and redact them in messages.

In: anything that a user may have put a token into by mistake, and messages of libraries.
Out: text without any token.

>>> redacted("GET https://ada:secret@mirror/x failed for hf_" + 34 * "x")
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

# What a token begins with is kept when it is redacted, so that a reader knows which one it was.
# Random text of other kinds (hex hashes, base64) has none of these beginnings at its start.
_TOKEN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        ((?:hf|api_org)_)(?:oauth_|jwt_)?[A-Za-z0-9]{30,}[\w.-]*     # Hugging Face
      | (AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])                        # AWS
      | (gh[opusr]_|github_pat_)\w{30,}                              # GitHub
      | (glpat-)[\w-]{20,}                                           # GitLab
      | (npm_)[A-Za-z0-9]{36,}                                       # npm
      | (pypi-Ag)[\w-]{30,}                                          # PyPI
      | (AIza)[\w-]{30,}                                             # Google
      | (xox[a-z]-|xapp-)[\w-]{10,}                                  # Slack
      | ([sr]k_(?:live|test)_)\w{16,}                                # Stripe
        # OpenAI and Anthropic. Names such as sk-learn-contrib have words between their hyphens,
        # a token has letters mixed with digits, or too many letters for a word.
      | (sk-(?:ant-|proj-)?)[\w-]{0,64}?
        (?:(?=[A-Za-z]{0,15}[0-9])(?=[0-9]{0,15}[A-Za-z])[A-Za-z0-9]{16}|[A-Za-z0-9]{24})[\w-]*
    )""",
    re.ASCII | re.VERBOSE,
)
_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
    r"(?:(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
    # Without its end, as in a message that was cut off: the lines of base64.
    r"|(?:\\n|[A-Za-z0-9+/=\s])*)"
)
_SCHEME = r"([a-z][a-z0-9+.-]{0,30}://)"
# Passwords are often written without the escapes that an address needs, so everything up to the
# last @ of the word counts. What follows the colon in `host:8080/@x` and `[::1]:80` is a port, in
# `git@host:path@v1` a path.
_PASSWORD = re.compile(
    _SCHEME + r"(?!\[[0-9a-f:.]+\]|git@[^\s/:@]+:)[^\s/?#:\"<>]{0,256}:"
    r"(?!\d*(?:[/?#\s]|$))[^\s]{0,2048}@",
    re.IGNORECASE,
)
_USER = re.compile(_SCHEME + r"([^\s/?#:@\"<>]{1,2048})@", re.IGNORECASE)
# A user or container that needs no hiding: a word or several, numbers only at their ends. And what
# `redacted` leaves.
_USER_NAME = re.compile(r"[A-Z]?[a-z]+\d{0,4}(?:[._-](?:[a-z]+\d{0,4}|\d{1,4}))*|\*\*\*")
# The longest name of an account on GitHub.
_LONGEST_NAME = 39
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# What is shorter than this is no secret, and redacting it would garble ordinary text.
SHORTEST = 8
_NAME = re.compile(r"token|password|passwd|secret|api_?key|credential", re.IGNORECASE)
REMEDY = (
    "Take it out and revoke it where it was issued (Hugging Face: "
    "https://huggingface.co/settings/tokens). A new one for the Hub goes into the environment "
    "variable HF_TOKEN (in Colab: the key icon on the left)."
)


def secret_in(text: str) -> str | None:
    """Name the kind of secret that a text contains, such as `an access token`, or None.

    Known are the tokens of Hugging Face, AWS, GitHub, GitLab, npm, PyPI, Google, Slack, Stripe,
    OpenAI and Anthropic, private keys in PEM, and addresses with a password or token before the
    host. A password without such a mark is not recognized.
    """
    if _TOKEN.search(text) or any(token in text for token in _own()):
        return "an access token"
    if _KEY.search(text):
        return "a private key"
    if _PASSWORD.search(text):
        return "an address with a password"
    if any(not _is_user_name(match[2]) for match in _USER.finditer(text)):
        return "an address with a token"
    return None


def redacted(text: str) -> str:
    """Replace tokens, keys and passwords in a text by `***`; for messages that libraries wrote."""
    for token in _own():
        text = text.replace(token, "***")
    text = _TOKEN.sub(lambda match: f"{next(filter(None, match.groups()))}***", text)
    text = _PASSWORD.sub(r"\1***@", _KEY.sub("***", text))
    return _USER.sub(lambda match: match[0] if _is_user_name(match[2]) else f"{match[1]}***@", text)


def names_a_secret(name: str) -> bool:
    """Tell whether a parameter's name suggests a secret value, as `hf_token` does."""
    return bool(_NAME.search(name))


def redact_error(error: BaseException) -> BaseException:
    """Redact tokens and passwords in an error and in the errors that caused it, and return it.

    The causes matter because a notebook's traceback shows them as well.
    """
    for link in _chain(error):
        link.args = tuple(redacted(part) if isinstance(part, str) else part for part in link.args)
        # An OSError shows these attributes instead of its args.
        for name in ("strerror", "filename", "filename2"):
            if isinstance(part := getattr(link, name, None), str):
                setattr(link, name, redacted(part))
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
        if secret := secret_in(argument):
            is_option = previous.startswith("-") and not secret_in(previous)
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

    if secret := secret_in(constants.ENDPOINT):
        raise ConfigError(
            f"HF_ENDPOINT holds {secret}, which errors and logs would show. Set it to the address "
            "alone; the token goes into HF_TOKEN."
        )


def _is_user_name(text: str) -> bool:
    """Whether the part of an address before @ is a name, as in `ssh://git@host`, and no token."""
    return len(text) <= _LONGEST_NAME and bool(_USER_NAME.fullmatch(text))


def _own() -> list[str]:
    """Return the tokens in this process's environment, whatever they look like."""
    return [
        token for name in _VARIABLES if len(token := os.environ.get(name, "").strip()) >= SHORTEST
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
