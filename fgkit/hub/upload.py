"""`fgkit publish RUN --repo USER/NAME`: a finished run goes to the Hugging Face Hub, with its card and its licence.

In: a run's folder and the name of a repository. Out: the repository's address. Private by default, and only what passed the
gate unless forced, which the card then says first.

>>> publish("run", "ada/lights", dry_run=True)        # shows every file and the card; asks no network
>>> publish("run", "ada/lights")        # `offer` is for the last cell of a notebook
'https://huggingface.co/ada/lights'

The token comes from where huggingface_hub finds it: HF_TOKEN, Colab's secrets, `hf auth login`. Whether it may write there
is asked before anything is sent. All files arrive in one commit, so nobody ever sees half a model; large files that arrived
before a broken connection are known to the Hub and not sent again. Afterwards the Hub's own hashes are read back.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fgkit import credentials
from fgkit.errors import CheckFailed, FgkitError

from . import model_card
from .publication import Publication, bundles, gather
from .published_files import File

CARD = "README.md"
TOKENS = "https://huggingface.co/settings/tokens"
_GET_TOKEN = (
    f"Create one with Write access at {TOKENS} and set it as the environment variable HF_TOKEN (in Colab: the key "
    "icon on the left)."
)
_AGAIN = "Run the same command again: large files that arrived are not sent again."
_CANNOT_WRITE = {"read"}  # roles in an organisation


def publish(
    run: str | Path,
    repo: str,
    *,
    public: bool = False,
    data: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> str:
    """Publish a run's model folder and bundles with card, notice and hashes.

    Args:
        run: the run's output folder.
        repo: `user/name` or `organisation/name`; made where it is missing.
        public: everybody may see it; otherwise a repository that is public already is refused.
        data: publish the rows, too.
        force: publish what did not pass the gate; the card says so.
        dry_run: show every file and the card, ask no network, send nothing.
    Returns:
        the repository's address.
    Raises:
        CheckFailed: a bundle did not pass the gate, or a file holds a token.
        FgkitError: the token may not write there, or the Hub refused; see also `publication.gather`.
    """
    if (
        not re.fullmatch(r"[A-Za-z0-9][\w.-]*/\w[\w.-]*", repo, re.ASCII)
        or ".." in repo
        or "--" in repo
    ):
        shown = "a text with an access token" if credentials.kind(repo) else repr(repo)
        raise FgkitError(f"repo is {shown}, expected user/name, such as ada/lights.")
    found = gather(run, data=data)
    card = model_card.write(found, repo, public=public)
    files = [
        *found.files,
        File(
            CARD,
            card.encode(),
            len(card.encode()),
            hashlib.sha256(card.encode()).hexdigest(),
            "the model card",
        ),
    ]
    print(
        f"{'would publish' if dry_run else 'publishing'} to {repo}, {'PUBLIC' if public else 'private'}:"
    )
    print("\n".join(f"  {file.sha256[:12]}  {file.bytes:>12,} B  {file.name}" for file in files))
    print(
        f"  {len(files)} files, {sum(file.bytes for file in files) / 1e6:,.1f} MB; "
        + ("the rows are among them" if data else "no rows of yours are among them")
    )
    if found.doubts and not force:
        raise CheckFailed(
            "\n".join(
                [
                    *found.doubts,
                    "Nothing was sent. Train or convert again; --force publishes it as it is, "
                    "and the card then says so first.",
                ]
            )
        )
    if dry_run:
        print(f"\n{CARD}:\n\n{card}\n\nNothing was sent.")
        return f"https://huggingface.co/{repo}"
    return _send(repo, files, public, _message(found))


def offer(run: str | Path, repo: str = "") -> None:
    """What the last cell of a notebook says: how to publish the run; with a repository's name, publish it, private.

    Args:
        run: the run's folder.
        repo: `user/name`; "" sends nothing and asks no network.
    Raises:
        CheckFailed, FgkitError: as `publish`.
    """
    if repo:
        print(publish(run, repo))
    elif not bundles(run):
        print(
            "to publish: finish to_task.ipynb first; model and bundles go to the Hugging Face Hub together"
        )
    else:
        print(
            'to publish, private: write repo="user/name" into this cell and run it again, or\n'
            f"  python -m fgkit publish {shlex.quote(str(run))} --repo user/name --dry-run\n"
            "which shows every file and the card, and sends nothing"
        )


def require_write(repo: str) -> str:
    """Ask the Hub who the token is, and refuse one that may not write to this repository.

    Args:
        repo: `user/name`.
    Returns:
        the account's name.
    Raises:
        FgkitError: there is no token, the Hub does not know it, or it may not write there; with the remedy.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError

    credentials.refuse_endpoint()
    token = get_token()
    if not token:
        raise FgkitError(f"{repo}: there is no token. {_GET_TOKEN}")
    if not re.fullmatch("[!-~]+", token):
        raise FgkitError(
            f"{repo}: the token in HF_TOKEN holds characters that no token has. Copy it again from {TOKENS}."
        )
    try:
        who = HfApi().whoami()
    except (HTTPError, OSError, RuntimeError) as error:
        raise FgkitError(f"{repo}: nothing was sent. {_why(error)}") from credentials.scrub(error)
    if problem := cannot_write(who, repo):
        raise FgkitError(f"{repo}: nothing was sent. {problem}")
    return str(who.get("name"))


def cannot_write(who: dict[str, Any], repo: str) -> str:
    """Why a token may not write to a repository, and what to do; "" where it may, or where the Hub does not tell.

    Args:
        who: what the Hub's `whoami-v2` says: the account, its organisations, the token's role and, of a fine-grained token,
            its permissions by account, organisation or repository.
        repo: `user/name`.
    """
    owner, name = repo.partition("/")[0], who.get("name")
    access = (who.get("auth") or {}).get("accessToken") or {}
    held = {org.get("name"): org.get("roleInOrg") for org in who.get("orgs") or []}
    label = f"The token {access['displayName']!r}" if access.get("displayName") else "The token"
    if owner != name and owner not in held:
        mine = ", ".join(sorted(filter(None, [name, *held])))
        return f"{label} belongs to {name!r}, who is not {owner!r} nor in an organisation of that name. Use one of: {mine}."
    if owner in held and held[owner] in _CANNOT_WRITE:
        return f"{name!r} may only read in the organisation {owner!r}. Ask its administrator for write access, or use {name}/…"
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
                f"{label} is fine-grained and has no write access to {owner}'s repositories, and the Hub would answer "
                f'403. Tick "Write access to contents/settings of all repos" under {owner} at {TOKENS}, or create one '
                "with Write access."
            )
    return ""


def _send(repo: str, files: list[File], public: bool, message: str) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HTTPError

    name = require_write(repo)
    api = HfApi()
    try:
        private = _visibility(api, repo)
        if private is False and not public:
            raise FgkitError(
                f"{repo}: is there and is public, so everybody would see these files. Say --public, make it "
                "private in its settings, or choose another name."
            )
        if private is None:
            api.create_repo(repo, private=not public, exist_ok=True)
        added = [CommitOperationAdd(file.name, file.content) for file in files]
        commit = api.create_commit(repo, added, commit_message=message)
        there = {
            each.path: each
            for each in api.list_repo_tree(repo, recursive=True, revision=commit.oid)
        }
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise FgkitError(f"{repo}: {_why(error)}") from credentials.scrub(error)
    if wrong := [file.name for file in files if not _is(there.get(file.name), file)]:
        raise FgkitError(
            f"{repo}: the Hub has other bytes than were sent of {', '.join(wrong)}. {_AGAIN}"
        )
    print(f"published by {name}: {len(files)} files, whose hashes the Hub confirms")
    if public and private:
        print(f"{repo} is private and stays so; its settings on the Hub make it public.")
    if others := sorted(
        {path for path, each in there.items() if hasattr(each, "blob_id")}
        - {file.name for file in files}
        - {".gitattributes"}
    ):
        print(
            f"note: {repo} also holds {', '.join(others)}, which this run did not make and the card does not describe."
        )
    return f"{api.endpoint}/{repo}"


def _visibility(api: Any, repo: str) -> bool | None:
    """Whether a repository is private; None where there is none that the token may see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(api.model_info(repo).private)
    except RepositoryNotFoundError:
        return None


def _is(there: Any, file: File) -> bool:
    """Whether the Hub's file has our bytes: by SHA-256 in large-file storage, by Git's hash otherwise."""
    if there is None:
        return False
    if there.lfs is not None:
        return there.lfs.sha256 == file.sha256
    content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _message(found: Publication) -> str:
    return f"Publish {' and '.join(found.bundles)} with fgkit" + (
        ", by force" if found.doubts else ""
    )


def _why(error: BaseException) -> str:
    """What a refusal means and what to do; the text of the error itself could show the token."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    causes = list(_causes(error))
    if answered := next((each for each in causes if isinstance(each, HfHubHTTPError)), None):
        status = answered.response.status_code
        remedy = {
            401: f"The token in HF_TOKEN is refused. {_GET_TOKEN}",
            403: f"The token in HF_TOKEN may not write there. {_GET_TOKEN}",
            404: "There is no such repository that the token may see. Check its name.",
            429: f"The Hub asks to wait. {_AGAIN.replace('again:', 'again in a few minutes:')}",
        }.get(
            status,
            "It does not take these files." if status < 500 else f"The Hub has a problem. {_AGAIN}",
        )
        return f"the Hub answered {status}. {remedy}"
    if any(isinstance(each, OfflineModeIsEnabled) for each in causes):
        return "HF_HUB_OFFLINE keeps this from asking the Hub. Unset it and run again."
    if isinstance(error, ValueError):
        return f"the Hub's client refuses it: {credentials.hidden(str(error))[:300]}"
    return f"the Hub cannot be reached, or the upload broke off. Check the network. {_AGAIN}"


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
