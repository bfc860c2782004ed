"""`fgkit publish RUN --repo USER/NAME`: upload a finished run to the Hugging Face Hub.

In: a run's folder and the name of a repository. Out: the repository's address. The repository is
private unless asked otherwise. A model that did not pass the gate is refused unless forced, and its
card then begins with that.

For example:

    publish("run", "ada/lights", dry_run=True)  # shows all files and the card, without a network
    publish("run", "ada/lights")
    # 'https://huggingface.co/ada/lights'

The token comes from where huggingface_hub looks for it: HF_TOKEN, Colab's secrets, `hf auth login`.
Whether it may write is asked before anything is sent. All files arrive in one commit, so nobody
ever sees half a model; large files that arrived before a connection broke are known to the Hub and
are not sent again. At the end, the hashes that the Hub computed are compared with ours.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import Any

from fgkit import credentials
from fgkit.errors import CheckFailed, FgkitError

from . import model_card
from .permissions import AGAIN, explain, require_write
from .publication import Publication, bundles, gather
from .published_files import File, require_no_secrets

CARD = "README.md"


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
        repo: `user/name` or `organisation/name`; created if it does not exist.
        public: let everybody see it. Without this, a repository that is public already is refused.
        data: publish the rows as well.
        force: publish even if a bundle did not pass the gate; the card says so.
        dry_run: show all files and the card, and send nothing. Needs no network.
    Returns:
        the repository's address.
    Raises:
        CheckFailed: a bundle did not pass the gate, or a file holds a token.
        FgkitError: the token may not write there, or the Hub refused; also as for `gather`.
    """
    _check_name(repo)
    publication = gather(run, data=data)
    card = model_card.write(publication, repo, public=public)
    content = card.encode()
    card_file = File(
        CARD, content, len(content), hashlib.sha256(content).hexdigest(), "the model card"
    )
    # It names files and settings that are in none of the others.
    require_no_secrets([card_file])
    files = [*publication.files, card_file]
    visibility = "PUBLIC" if public else "private"
    print(f"{'would publish' if dry_run else 'publishing'} to {repo}, {visibility}:")
    print("\n".join(f"  {file.sha256[:12]}  {file.bytes:>12,} B  {file.name}" for file in files))
    print(
        f"  {len(files)} files, {sum(file.bytes for file in files) / 1e6:,.1f} MB; "
        + ("the rows are among them" if data else "no rows of yours are among them")
    )
    if publication.doubts and not force:
        raise CheckFailed(
            "\n".join(
                [
                    *publication.doubts,
                    "Nothing was sent. Train or convert again; --force publishes it as it is, "
                    "and the card then says so first.",
                ]
            )
        )
    if dry_run:
        print(f"\n{CARD}:\n\n{card}\n\nNothing was sent.")
        return f"https://huggingface.co/{repo}"
    return _send(repo, files, public, _message(publication))


def offer(run: str | Path, repo: str = "") -> None:
    """Print how to publish a run, for the last cell of a notebook; with a repository, publish it.

    Args:
        run: the run's folder.
        repo: `user/name`, which will be private; "" only prints, and needs no network.
    Raises:
        CheckFailed, FgkitError: as `publish`.
    """
    if repo:
        print(publish(run, repo))
    elif not bundles(run):
        print(
            "to publish: finish to_task.ipynb first; model and bundles go to the Hugging Face Hub "
            "together"
        )
    else:
        print(
            'to publish, private: write repo="user/name" into this cell and run it again, or\n'
            f"  python -m fgkit publish {shlex.quote(str(run))} --repo user/name --dry-run\n"
            "which shows every file and the card, and sends nothing"
        )


def _check_name(repo: str) -> None:
    """Refuse what the Hub does not accept as a name; a token in its place is not repeated."""
    if (
        not re.fullmatch(r"[A-Za-z0-9][\w.-]*/\w[\w.-]*", repo, re.ASCII)
        or ".." in repo
        or "--" in repo
    ):
        shown = "a text with an access token" if credentials.secret_in(repo) else repr(repo)
        raise FgkitError(f"repo is {shown}, expected user/name, such as ada/lights.")


def _send(repo: str, files: list[File], public: bool, message: str) -> str:
    """Send all files in one commit, compare hashes, and return the repository's address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    # Which HTTP library this comes from depends on huggingface_hub's version, so it is imported
    # from there, although its types do not list it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    name = require_write(repo)
    api = HfApi()
    try:
        private = _visibility(api, repo)
        if private is False and not public:
            raise FgkitError(
                f"{repo}: is there and is public, so everybody would see these files. Say "
                "--public, make it private in its settings, or choose another name."
            )
        if private is None:
            api.create_repo(repo, private=not public, exist_ok=True)
        added = [CommitOperationAdd(file.name, file.content) for file in files]
        commit = api.create_commit(repo, added, commit_message=message)
        # At the commit that was just made: a read of the branch could come from a cache.
        entries = api.list_repo_tree(repo, recursive=True, revision=commit.oid)
        present = {entry.path: entry for entry in entries}
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise FgkitError(f"{repo}: {explain(error)}") from credentials.redact_error(error)
    if wrong := [file.name for file in files if not _has_content(present.get(file.name), file)]:
        raise FgkitError(
            f"{repo}: the Hub has other bytes than were sent of {', '.join(wrong)}. {AGAIN}"
        )
    print(f"published by {name}: {len(files)} files, whose hashes the Hub confirms")
    if public and private:
        print(f"{repo} is private and stays so; its settings on the Hub make it public.")
    if others := sorted(
        {path for path, entry in present.items() if hasattr(entry, "blob_id")}
        - {file.name for file in files}
        - {".gitattributes"}
    ):
        print(
            f"note: {repo} also holds {', '.join(others)}, which this run did not make and the "
            "card does not describe."
        )
    return f"{api.endpoint}/{repo}"


def _visibility(api: Any, repo: str) -> bool | None:
    """Whether a repository is private; None where there is none that the token may see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(api.model_info(repo).private)
    except RepositoryNotFoundError:
        return None


def _has_content(entry: Any, file: File) -> bool:
    """Whether the Hub's file, an entry of its tree, has the content of ours."""
    if entry is None:
        return False
    # Large files have a SHA-256 of their own; for the others there is only the hash of Git's blob.
    if entry.lfs is not None:
        return entry.lfs.sha256 == file.sha256
    content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _message(publication: Publication) -> str:
    forced = ", by force" if publication.doubts else ""
    return f"Publish {' and '.join(publication.bundles)} with fgkit{forced}"
