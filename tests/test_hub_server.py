"""The stand-in Hub, spoken to by the real client: what it keeps, whom it lets in, how it fails."""

from __future__ import annotations

import hub_server
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

TOKEN = "hf_canaryOfTheHubServerTests00000000"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server.alone(monkeypatch, tmp_path), hub_server.Hub() as server:
        hub_server.point_at(monkeypatch, server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        server.accept(TOKEN, name="ada", orgs={"acme": "write", "guests": "read"})
        yield server


def push(name: str = "ada/lights", **files: bytes) -> str:
    return (
        HfApi()
        .create_commit(
            name,
            [
                CommitOperationAdd(path.replace("_", "."), content)
                for path, content in files.items()
            ],
            commit_message="a test's",
        )
        .oid
    )


def test_what_was_pushed_is_there_and_comes_back(hub, tmp_path) -> None:
    HfApi().create_repo("ada/lights", private=True)
    oid = push(weights_safetensors=b"w" * 5000, notes_txt=b"hello")
    repo = hub.repos["ada/lights"]
    assert (
        repo.private
        and repo.files == {"weights.safetensors": b"w" * 5000, "notes.txt": b"hello"}
        and repo.sha == oid
    )
    assert hub.uploaded == [5000], "only the large file goes into large-file storage"
    assert HfApi().model_info("ada/lights").private is True
    path = hf_hub_download("ada/lights", "weights.safetensors")
    assert open(path, "rb").read() == b"w" * 5000 and sorted(
        HfApi().list_repo_files("ada/lights")
    ) == ["notes.txt", "weights.safetensors"]
    push(weights_safetensors=b"w" * 5000, notes_txt=b"bye")
    assert hub.uploaded == [5000] and repo.commits[-1][2] == ["notes.txt"], (
        "what is there is not sent again"
    )


def test_who_may_do_what(hub, monkeypatch) -> None:
    hub.accept("hf_reader", role="read")
    hub.accept(
        "hf_scoped",
        role="fineGrained",
        scoped={"ada/lights": ["repo.write"], "ada": ["repo.content.read"]},
    )
    assert HfApi().whoami()["auth"]["accessToken"]["role"] == "write"
    assert hub.may_write(TOKEN, "ada/x") and hub.may_write(TOKEN, "acme/x")
    assert not hub.may_write(TOKEN, "guests/x") and not hub.may_write(TOKEN, "bob/x")
    assert hub.may_write("hf_scoped", "ada/lights") and not hub.may_write("hf_scoped", "ada/other")
    hub.add("ada/lights", private=True)
    for token, status in (("hf_reader", 403), ("hf_unknown", 401)):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HfHubHTTPError) as info:
            push(notes_txt=b"no")
        assert info.value.response.status_code == status
    assert hub.repos["ada/lights"].files == {} and None not in hub.tokens


def test_the_faults_happen(hub, tmp_path) -> None:
    repo = hub.add("ada/lights", {"weights.safetensors": bytes(3 << 20)})
    hub.refuse = lambda path: (429, {}) if "/resolve/" in path else None
    with pytest.raises(Exception):
        hf_hub_download("ada/lights", "weights.safetensors")
    hub.refuse, hub.echo = (lambda path: (500, {}) if path.startswith("/api") else None), True
    with pytest.raises(HfHubHTTPError, match=TOKEN):
        HfApi().model_info("ada/lights")
    hub.refuse, hub.cut, hub.chunk, hub.pause = (
        (lambda path: None),
        {"weights.safetensors"},
        1 << 20,
        0.01,
    )
    hub.paths.clear()
    with pytest.raises(Exception):
        hf_hub_download("ada/lights", "weights.safetensors")
    hub.cut = set()
    assert (
        open(hf_hub_download("ada/lights", "weights.safetensors"), "rb").read()
        == repo.files["weights.safetensors"]
    )
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("ada/nothing")


def test_an_upload_that_breaks_off_is_tried_again_by_the_client(hub) -> None:
    hub.add("ada/lights")
    hub.broken_uploads = 1
    push(weights_safetensors=b"w" * 500_000)
    assert (
        hub.uploaded == [500_000]
        and hub.broken_uploads == 0
        and hub.requests.count(next(one for one in hub.requests if one[0] == "PUT")) == 2
    )
