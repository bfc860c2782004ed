"""A Hugging Face Hub on this machine: what huggingface_hub 2.4 asks of one, in memory, and every way in which one can fail.

In: requests of the real client. Out: what the Hub would have kept, and a record of who asked what.

>>> with Hub() as hub:                                  # a thread; 127.0.0.1, a free port
...     hub.accept("hf_token", name="ada", role="write")
...     subprocess.run(["python", "-m", "fgkit", "publish", ...], env=os.environ | hub.environment("hf_token"))
...     hub.repos["ada/lights"].files["README.md"]

In the test's own process `point_at(monkeypatch, hub.url)` does what HF_ENDPOINT does before the client's import.

Reading needs no token unless the repository is private; a repository is also there when a test says `hub.add(name, files)`.
Faults, which may be changed at any time:

    hub.refuse = lambda path: (429, {"Retry-After": "1"}) if "/resolve/" in path else None   # any status, any headers
    hub.cut = {"model.safetensors"}       # these files' downloads end in the middle
    hub.broken_uploads = 1                # as many uploads of large files end in the middle, too
    hub.pause = 0.5                       # seconds before each answer, and between two chunks of one
    hub.chunk = 1 << 16                   # bytes sent at a time
    hub.echo = True                       # an error's text repeats the Authorization header, as a careless proxy does
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGE = (
    ".safetensors",
    ".task",
    ".litertlm",
    ".model",
    ".bin",
    ".tflite",
)  # kept in large-file storage, as any file over
LARGE_BYTES = 1 << 20  # this many bytes


@dataclass
class Repo:
    """What the Hub keeps of one repository: its files, who may see it, and its commits as (id, message, paths)."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    commits: list[tuple[str, str, list[str]]] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return self.commits[-1][0] if self.commits else hashlib.sha1(b"the first").hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """The server; `start` and `stop` it, or use it as a context.

    Args:
        files: of a first, public repository under any name, for tests that only download.
    """

    request_queue_size = (
        64  # the client connects eight times at once, and a full queue costs a second
    )
    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = files
        self.repos: dict[str, Repo] = {}
        self.users: dict[str, dict[str, Any]] = {}  # token -> what whoami says
        self.objects: dict[str, bytes] = {}  # large files by hash
        self.refuse: Callable[[str], tuple[int, dict[str, str]] | None] = lambda path: None
        self.cut: set[str] = set()
        self.broken_uploads = 0
        self.pause, self.chunk, self.echo = 0.0, 1 << 20, False
        self.paths: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.uploaded: list[int] = []  # bytes of each large file that came

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, token: str | None = None) -> dict[str, str]:
        """Variables that lead a process's huggingface_hub here and nowhere else."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "*",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
        } | ({"HF_TOKEN": token} if token else {})

    def accept(
        self,
        token: str,
        *,
        name: str = "ada",
        role: str = "write",
        orgs: dict[str, str] | None = None,
        scoped: dict[str, list[str]] | None = None,
    ) -> None:
        """Know a token.

        Args:
            token: as in the Authorization header.
            name: of the account.
            role: `read`, `write` or `fineGrained`.
            orgs: the account's role in each organisation.
            scoped: a fine-grained token's permissions by account, organisation or repository.
        """
        access: dict[str, Any] = {"displayName": "a test's", "role": role}
        if role == "fineGrained":
            access["fineGrained"] = {
                "canReadGatedRepos": False,
                "global": ["discussion.write"],
                "scoped": [
                    {
                        "entity": {
                            "_id": "0",
                            "type": "model"
                            if "/" in each
                            else "org"
                            if each in (orgs or {})
                            else "user",
                            "name": each,
                        },
                        "permissions": permissions,
                    }
                    for each, permissions in (scoped or {}).items()
                ],
            }
        self.users[token] = {
            "type": "user",
            "id": "0",
            "name": name,
            "fullname": name.title(),
            "email": f"{name}@example",
            "orgs": [
                {"type": "org", "name": org, "roleInOrg": held}
                for org, held in (orgs or {}).items()
            ],
            "auth": {"type": "access_token", "accessToken": access},
        }

    def add(
        self, name: str, files: dict[str, bytes] | None = None, *, private: bool = False
    ) -> Repo:
        """Have a repository."""
        self.repos[name] = Repo(dict(files or {}), private)
        return self.repos[name]

    def repo(self, name: str) -> Repo | None:
        """The repository of this name; the one given files of a downloading test goes under any."""
        return self.repos.get(name) or (None if self.files is None else Repo(self.files))

    def may_write(self, token: str, name: str) -> bool:
        """Whether the Hub would let this token write to this repository."""
        user, owner = self.users.get(token), name.partition("/")[0]
        if user is None or owner not in (
            user["name"],
            *(org["name"] for org in user["orgs"] if org["roleInOrg"] != "read"),
        ):
            return False
        access = user["auth"]["accessToken"]
        scopes = access.get("fineGrained", {}).get("scoped", [])
        return access["role"] == "write" or any(
            "repo.write" in scope["permissions"] and scope["entity"]["name"] in (owner, name)
            for scope in scopes
        )

    def wait(self) -> None:
        """Be as slow as asked; `time.sleep` may be patched by the test."""
        if self.pause:
            threading.Event().wait(self.pause)

    def start(self) -> Hub:
        """Serve from a thread of its own."""
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Close the port."""
        self.shutdown()
        self.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.server.paths.append(path)
        self.server.requests.append((self.command, path))
        self.server.tokens.add(self.headers.get("Authorization"))
        self.server.wait()
        body = self._body()
        if body is None:
            return
        if (refusal := self.server.refuse(path)) is not None:
            self._error(*refusal)
        elif path == "/api/whoami-v2":
            if token in self.server.users:
                self._json(self.server.users[token])
            else:
                self._error(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif path == "/api/repos/create":
            self._create(token, json.loads(body))
        elif path == "/api/validate-yaml":
            errors = _card_errors(json.loads(body)["content"])
            self._json(
                {"errors": [{"message": error} for error in errors], "warnings": []},
                400 if errors else 200,
            )
        elif found := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            self._keep(found[1], body)
        elif found := re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?(?:/(info/lfs|[a-z-]+)(?:/(.*))?)?", path
        ):
            self._in_repo(token, found[1], found[2], found[3] or "", body)
        else:
            self._error(404, {})

    do_HEAD = do_POST = do_PUT = do_GET

    def _body(self) -> bytes | None:
        """The request's body; None when the connection is to break while it comes."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.command == "PUT" and self.server.broken_uploads:
            self.server.broken_uploads -= 1
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            return b"".join(self._chunks())
        return self.rfile.read(length)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().strip() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _create(self, token: str, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or self.server.users.get(token, {}).get("name")
        name = f"{owner}/{asked['name']}"
        if not self.server.may_write(token, name):
            self._error(
                403,
                {
                    "X-Error-Message": "You don't have the rights to create a model under the namespace"
                },
            )
        elif name in self.server.repos:
            self._error(409, {"X-Error-Message": "You already created this model repo"})
        else:
            self.server.add(
                name, private=asked.get("visibility") == "private" or bool(asked.get("private"))
            )
            self._json({"url": f"{self.server.url}/{name}"})

    def _in_repo(self, token: str, name: str, verb: str | None, rest: str, body: bytes) -> None:
        repo = self.server.repo(name)
        if repo is None or repo.private and not self._may_read(token, name):
            self._error(
                404 if token in self.server.users else 401, {"X-Error-Code": "RepoNotFound"}
            )
        elif verb in ("preupload", "commit", "info/lfs") and not self.server.may_write(token, name):
            self._error(403, {"X-Error-Message": "Forbidden: pass a token with write access"})
        elif verb in (None, "revision"):
            self._json(
                {
                    "id": name,
                    "modelId": name,
                    "sha": repo.sha,
                    "private": repo.private,
                    "tags": [],
                    "siblings": [{"rfilename": path} for path in repo.files],
                }
            )
        elif verb == "tree":
            self._json(
                [
                    {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
                    | (
                        {"lfs": {"oid": _sha256(content), "size": len(content), "pointerSize": 130}}
                        if _is_large(path, len(content))
                        else {}
                    )
                    for path, content in repo.files.items()
                ]
            )
        elif verb == "resolve":
            self._resolve(repo, rest.partition("/")[2])
        elif verb == "preupload":
            self._json(
                {
                    "files": [
                        self._mode(repo, one["path"], one["size"])
                        for one in json.loads(body)["files"]
                    ]
                }
            )
        elif verb == "info/lfs":
            self._batch(json.loads(body)["objects"])
        elif verb == "commit":
            self._commit(
                name, repo, [json.loads(line) for line in body.splitlines() if line.strip()]
            )
        else:
            self._error(404, {})

    def _may_read(self, token: str, name: str) -> bool:
        user = self.server.users.get(token, {"name": None, "orgs": []})
        return name.partition("/")[0] in (user["name"], *(org["name"] for org in user["orgs"]))

    def _mode(self, repo: Repo, path: str, size: int) -> dict[str, Any]:
        large, there = _is_large(path, size), repo.files.get(path)
        known = {} if there is None else {"oid": _sha256(there) if large else _git_hash(there)}
        return {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": False,
            **known,
        }

    def _batch(self, wanted: list[dict[str, Any]]) -> None:
        self._json(
            {
                "transfer": "basic",
                "objects": [
                    one
                    if one["oid"] in self.server.objects
                    else one
                    | {"actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}}
                    for one in wanted
                ],
            }
        )

    def _keep(self, oid: str, content: bytes) -> None:
        if _sha256(content) != oid:
            self._error(400, {"X-Error-Message": "the object has another hash"})
            return
        self.server.objects[oid] = content
        self.server.uploaded.append(len(content))
        self._json({})

    def _commit(self, name: str, repo: Repo, lines: list[dict[str, Any]]) -> None:
        changed: dict[str, bytes | None] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile" and value["oid"] not in self.server.objects:
                self._error(400, {"X-Error-Message": f"{value['path']} was never uploaded"})
                return
            changed[value["path"]] = {
                "lfsFile": lambda: self.server.objects[value["oid"]],
                "deletedFile": lambda: None,
                "file": lambda: base64.b64decode(value["content"]),
            }[line["key"]]()
        for path, content in changed.items():
            repo.files.pop(path, None)
            if content is not None:
                repo.files[path] = content
        commit = hashlib.sha1(f"{name} {len(repo.commits)}".encode()).hexdigest()
        repo.commits.append((commit, lines[0]["value"]["summary"], list(changed)))
        self._json(
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"{self.server.url}/{name}/commit/{commit}",
                "hookOutput": "",
            }
        )

    def _resolve(self, repo: Repo, path: str) -> None:
        content = repo.files.get(path)
        if content is None:
            self._error(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.sha})
            return
        etag = _sha256(content) if _is_large(path, len(content)) else _git_hash(content)
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if start else 200, content[start:], headers, cut=path in self.server.cut)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, headers: dict[str, str]) -> None:
        text = headers.get("X-Error-Message", "refused")
        if self.server.echo:
            text += f" (request had Authorization: {self.headers.get('Authorization')})"
            headers = headers | {"X-Error-Message": text}
        self._send(
            status,
            json.dumps({"error": text}).encode(),
            {"Content-Type": "application/json"} | headers,
        )

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(body) // 2 if cut else len(body)
        for place in range(0, end, self.server.chunk):
            if place:
                self.server.wait()
            self.wfile.write(body[place : min(end, place + self.server.chunk)])

    def log_message(self, *args: object) -> None:
        pass


def point_at(monkeypatch: Any, url: str) -> None:
    """Do in this process what HF_ENDPOINT does, which the client reads only once, on import; uploads go without Xet."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "*")


@contextlib.contextmanager
def alone(monkeypatch: Any, home: Path) -> Iterator[None]:
    """No token, no cache and no other Hub than the one that `point_at` names; retries do not wait."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    point_at(monkeypatch, "http://127.0.0.1:9")  # the discard port: nothing listens
    _http.close_session()
    yield
    _http.close_session()


def _is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE) or size > LARGE_BYTES


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _card_errors(text: str) -> list[str]:
    """What the Hub refuses in a card's front matter, as far as ours could go wrong."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not found:
        return ["no metadata"]
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"no YAML: {error}"]
    kinds = {
        "license": str,
        "license_link": str,
        "language": (str, list),
        "tags": list,
        "base_model": (str, list),
        "library_name": str,
        "pipeline_tag": str,
        "model-index": list,
    }
    errors = [
        f"{key} is {data[key]!r}"
        for key, kind in kinds.items()
        if key in data and not isinstance(data[key], kind)
    ]
    for model in data.get("model-index") or []:
        for result in model["results"]:
            errors += [
                f"{result} has no {key}"
                for key in ("task", "dataset", "metrics")
                if key not in result
            ]
    return errors + ([] if "license" in data else ["no license"])
