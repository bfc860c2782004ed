"""Ask the Hub what a token may do, and turn its refusals into messages.

No message contains the text of the Hub's own errors, because that could show the token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fgkit import credentials
from fgkit.errors import FgkitError

TOKENS = "https://huggingface.co/settings/tokens"
AGAIN = "Run the same command again: large files that arrived are not sent again."
_GET_TOKEN = (
    f"Create one with Write access at {TOKENS} and set it as the environment variable HF_TOKEN "
    "(in Colab: the key icon on the left)."
)
# Roles in an organisation that may not write.
_CANNOT_WRITE = {"read"}


def require_write(repo: str) -> str:
    """Ask the Hub whose token this is, and refuse one that may not write to the repository.

    Args:
        repo: `user/name`.
    Returns:
        the account's name.
    Raises:
        FgkitError: there is no token, the Hub does not know it, or it may not write there. The
            message says what to do.
    """
    from huggingface_hub import HfApi, get_token

    # Which HTTP library this comes from depends on huggingface_hub's version, so it is imported
    # from there, although its types do not list it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    credentials.refuse_endpoint()
    token = get_token()
    if not token:
        raise FgkitError(f"{repo}: there is no token. {_GET_TOKEN}")
    if not re.fullmatch("[!-~]+", token):
        raise FgkitError(
            f"{repo}: the token in HF_TOKEN holds characters that no token has. Copy it again from "
            f"{TOKENS}."
        )
    try:
        account = HfApi().whoami()
    except (HTTPError, OSError, RuntimeError) as error:
        raise FgkitError(
            f"{repo}: nothing was sent. {explain(error)}"
        ) from credentials.redact_error(error)
    if problem := cannot_write(account, repo):
        raise FgkitError(f"{repo}: nothing was sent. {problem}")
    return str(account.get("name"))


def cannot_write(account: dict[str, Any], repo: str) -> str:
    """Explain why a token may not write to a repository.

    Args:
        account: the answer of the Hub's `whoami-v2`: the account, its organisations, the token's
            role and, for a fine-grained token, its permissions by account, organisation or
            repository.
        repo: `user/name`.
    Returns:
        the reason and what to do; "" if the token may write or the Hub does not say.
    """
    owner, name = repo.partition("/")[0], account.get("name")
    access = (account.get("auth") or {}).get("accessToken") or {}
    roles = {org.get("name"): org.get("roleInOrg") for org in account.get("orgs") or []}
    label = f"The token {access['displayName']!r}" if access.get("displayName") else "The token"
    if owner != name and owner not in roles:
        mine = ", ".join(sorted(filter(None, [name, *roles])))
        return (
            f"{label} belongs to {name!r}, who is not {owner!r} nor in an organisation of that "
            f"name. Use one of: {mine}."
        )
    if owner in roles and roles[owner] in _CANNOT_WRITE:
        return (
            f"{name!r} may only read in the organisation {owner!r}. Ask its administrator for "
            f"write access, or use {name}/…"
        )
    if access.get("role") == "read":
        return f"{label} may only read, and the Hub would answer 403. {_GET_TOKEN}"
    if access.get("role") == "fineGrained":
        scopes = (access.get("fineGrained") or {}).get("scoped") or []
        may_write = {
            (scope.get("entity") or {}).get("name")
            for scope in scopes
            if "repo.write" in (scope.get("permissions") or [])
        }
        if not may_write & {owner, repo}:
            return (
                f"{label} is fine-grained and has no write access to {owner}'s repositories, and "
                'the Hub would answer 403. Tick "Write access to contents/settings of all repos" '
                f"under {owner} at {TOKENS}, or create one with Write access."
            )
    return ""


def explain(error: BaseException) -> str:
    """Explain what a failed request to the Hub means and what to do.

    Args:
        error: the exception of huggingface_hub; those that caused it are looked at as well.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    causes = list(_causes(error))
    if answered := next((cause for cause in causes if isinstance(cause, HfHubHTTPError)), None):
        status = answered.response.status_code
        remedy = {
            401: f"The token in HF_TOKEN is refused. {_GET_TOKEN}",
            403: f"The token in HF_TOKEN may not write there. {_GET_TOKEN}",
            404: "There is no such repository that the token may see. Check its name.",
            429: f"The Hub asks to wait. {AGAIN.replace('again:', 'again in a few minutes:')}",
        }.get(
            status,
            "It does not take these files." if status < 500 else f"The Hub has a problem. {AGAIN}",
        )
        return f"the Hub answered {status}. {remedy}"
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return "HF_HUB_OFFLINE keeps this from asking the Hub. Unset it and run again."
    if isinstance(error, ValueError):
        return f"the Hub's client refuses it: {credentials.redacted(str(error))[:300]}"
    return f"the Hub cannot be reached, or the upload broke off. Check the network. {AGAIN}"


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
