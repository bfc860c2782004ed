"""Publishing against the local Hub: what arrives, who is let in, what is refused before anything is sent, how it goes on."""

from __future__ import annotations

import hashlib

import finished_run
import hub_server
import pytest
from finished_run import BUNDLE, PRIVATE
from huggingface_hub import ModelCard

from fgkit import files
from fgkit.cli.main import main
from fgkit.errors import BundleError, CheckFailed, ConfigError, FgkitError, ModelError
from fgkit.hub.permissions import cannot_write, require_write
from fgkit.hub.upload import CARD, offer, publish

TOKEN = "hf_canaryOfTheHubTests"
REPO = "ada/lights"
LARGE = {"model.safetensors", "tokenizer.model", BUNDLE}


@pytest.fixture
def run(tmp_path):
    return finished_run.make(tmp_path / "run")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server.alone(monkeypatch, tmp_path), hub_server.Hub() as server:
        hub_server.point_at(monkeypatch, server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        server.accept(TOKEN, name="ada", orgs={"acme": "write", "guests": "read"})
        yield server


def refused(*arguments, kind=FgkitError, **options) -> str:
    with pytest.raises(kind) as info:
        publish(*arguments, **options)
    error: BaseException | None = info.value
    while error is not None:  # a notebook shows the causes, too
        assert TOKEN not in str(error) and TOKEN not in repr(error.args)
        error = error.__cause__ or error.__context__
    return str(info.value)


# ---- what arrives ----


def test_a_publication_arrives_whole_private_and_in_one_commit(run, hub, capsys) -> None:
    assert publish(run, REPO) == f"{hub.url}/{REPO}"
    repo = hub.repos[REPO]
    assert repo.private and len(repo.commits) == 1 and set(repo.commits[0][2]) == set(repo.files)
    assert {
        BUNDLE,
        f"{BUNDLE}.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "config.json",
        "fgkit.json",
        "tools.json",
        "prompt.txt",
        "NOTICE-GEMMA.txt",
        "SHA256SUMS",
        CARD,
    } <= set(repo.files)
    for name in LARGE:
        path = run / name if name == BUNDLE else run / "model" / name
        assert repo.files[name] == path.read_bytes()
    sums = dict(
        reversed(line.split("  ")) for line in repo.files["SHA256SUMS"].decode().splitlines()
    )
    assert set(sums) == set(repo.files) - {CARD, "SHA256SUMS"}
    assert all(
        hashlib.sha256(repo.files[name]).hexdigest() == digest for name, digest in sums.items()
    )
    said = capsys.readouterr().out
    assert (
        f"published by ada: {len(repo.files)} files, whose hashes the Hub confirms" in said
        and "no rows of yours" in said
    )


def test_nothing_else_travels(run, hub) -> None:
    publish(run, REPO)
    names = set(hub.repos[REPO].files)
    assert not [
        name
        for name in names
        if name.endswith((".ipynb", ".bin", ".pt", ".pkl")) or "checkpoint" in name
    ]
    everything = b"".join(hub.repos[REPO].files.values())
    assert (
        PRIVATE.encode() not in everything
        and str(run).encode() not in everything
        and b"/home/ada" not in everything
    )
    assert TOKEN.encode() not in everything


def test_the_rows_travel_when_asked(run, hub, capsys) -> None:
    publish(run, REPO, data=True)
    got = hub.repos[REPO].files
    assert (
        got["data/rows.jsonl"] == (run.parent / "rows.jsonl").read_bytes()
        and "data/held_out.jsonl" in got
    )
    assert (
        "the rows are among them" in capsys.readouterr().out
        and PRIVATE.encode() in got[f"{BUNDLE}.json"]
    )


def test_rows_that_changed_since_are_refused(run, hub) -> None:
    (run.parent / "held_out.jsonl").write_bytes((run.parent / "rows.jsonl").read_bytes())
    message = refused(run, REPO, data=True)
    assert "the held-out rows are not those" in message and hub.requests == []


def test_public_when_asked_and_never_by_accident(run, hub, capsys) -> None:
    publish(run, REPO, public=True)
    assert not hub.repos[REPO].private
    before = hub.repos[REPO].sha
    message = refused(run, REPO)
    assert "is public" in message and "--public" in message and hub.repos[REPO].sha == before
    hub.repos[REPO].private = True
    publish(run, REPO, public=True)
    assert hub.repos[REPO].private and "is private and stays so" in capsys.readouterr().out


def test_a_dry_run_shows_all_and_asks_nobody(run, hub, capsys, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    publish(run, REPO, dry_run=True)
    said = capsys.readouterr().out
    assert (
        hub.requests == []
        and "would publish to ada/lights, private" in said
        and "Nothing was sent" in said
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish(run, REPO)
    got = hub.repos[REPO].files
    assert all(
        f"{hashlib.sha256(content).hexdigest()[:12]}  {len(content):>12,} B  {name}\n" in said
        for name, content in got.items()
    )
    assert got[CARD].decode() in said


def test_what_was_there_and_is_not_of_this_run_is_named(run, hub, capsys) -> None:
    hub.add(REPO, {"old.task": b"old", ".gitattributes": b""}, private=True)
    publish(run, REPO)
    assert (
        "also holds old.task, which" in capsys.readouterr().out
        and hub.repos[REPO].files["old.task"] == b"old"
    )


# ---- the gate ----


def test_what_did_not_pass_is_refused_and_labelled_when_forced(tmp_path, hub) -> None:
    run = finished_run.make(tmp_path / "run", passed=False)
    message = refused(run, REPO, kind=CheckFailed)
    assert (
        "did not pass the gate: exact match: model 4/4, bundle 3/4" in message
        and "--force" in message
    )
    assert PRIVATE not in message and hub.requests == []
    publish(run, REPO, force=True)
    card = hub.repos[REPO].files[CARD].decode()
    assert "**Published by force, without passing fgkit's gate.**" in card and "bundle 3/4" in card
    assert (
        "gate-not-passed" in ModelCard(card).data.tags
        and "by force" in hub.repos[REPO].commits[0][1]
    )


@pytest.mark.parametrize(
    ("entries", "kind", "says"),
    [
        ({"gate": None}, CheckFailed, "was not compared"),
        ({"gate": {}}, CheckFailed, "was not compared"),
        ({"gate": {"lines": []}}, CheckFailed, "did not pass"),
        ({"gate": {"passed": "yes"}}, BundleError, "gate.passed is text, 'yes', expected true or"),
    ],
)
def test_no_verdict_is_no_pass(run, hub, entries, kind, says) -> None:
    finished_run.change(run / f"{BUNDLE}.json", **entries)
    assert says in refused(run, REPO, kind=kind) and hub.requests == []


def test_a_bundle_without_a_score_of_its_own(run, hub) -> None:
    finished_run.change(run / f"{BUNDLE}.json", scores={})
    finished_run.change(run / "summary.json", task=None)
    assert "was not scored" in refused(run, REPO, kind=CheckFailed)
    publish(run, REPO, force=True)
    assert "was not scored" in hub.repos[REPO].files[CARD].decode()


@pytest.mark.parametrize(
    ("damaged", "kind"),
    [
        (BUNDLE, BundleError),
        ("model/model.safetensors", ModelError),
        ("model/tokenizer.model", ModelError),
    ],
)
def test_a_changed_file_is_never_sent_forced_or_not(run, hub, damaged, kind) -> None:
    content = bytearray((run / damaged).read_bytes())
    content[-1] ^= 1
    (run / damaged).write_bytes(content)
    assert f"{run / damaged}: has other bytes than were written" in refused(
        run, REPO, kind=kind, force=True
    )
    assert hub.requests == []


# ---- who may ----


@pytest.mark.parametrize(
    ("role", "orgs", "scoped", "repo", "says"),
    [
        ("write", {}, {}, "ada/x", ""),
        ("write", {"acme": "write"}, {}, "acme/x", ""),
        ("write", {"acme": "contributor"}, {}, "acme/x", ""),
        ("write", {"acme": "admin"}, {}, "acme/x", ""),
        ("read", {}, {}, "ada/x", "may only read, and the Hub would answer 403"),
        ("write", {}, {}, "bob/x", "belongs to 'ada', who is not 'bob'"),
        ("write", {"acme": "read"}, {}, "acme/x", "may only read in the organisation 'acme'"),
        ("fineGrained", {}, {}, "ada/x", "fine-grained and has no write access to ada's"),
        (
            "fineGrained",
            {},
            {"ada": ["repo.content.read"]},
            "ada/x",
            "fine-grained and has no write access",
        ),
        ("fineGrained", {}, {"ada": ["repo.content.read", "repo.write"]}, "ada/x", ""),
        ("fineGrained", {}, {"ada/x": ["repo.write"]}, "ada/x", ""),
        (
            "fineGrained",
            {},
            {"ada/y": ["repo.write"]},
            "ada/x",
            "fine-grained and has no write access",
        ),
        (
            "fineGrained",
            {"acme": "write"},
            {"ada": ["repo.write"]},
            "acme/x",
            "no write access to acme's",
        ),
        ("fineGrained", {"acme": "write"}, {"acme": ["repo.write"]}, "acme/x", ""),
    ],
)
def test_who_may_write_is_known_before_anything_is_sent(
    hub, role, orgs, scoped, repo, says
) -> None:
    hub.accept(TOKEN, name="ada", role=role, orgs=orgs, scoped=scoped)
    assert hub.may_write(TOKEN, repo) is not bool(says), "the Hub itself would say the same"
    if not says:
        assert require_write(repo) == "ada"
        return
    with pytest.raises(FgkitError, match="nothing was sent") as info:
        require_write(repo)
    assert says in str(info.value) and [path for _, path in hub.requests] == ["/api/whoami-v2"]


def test_a_hub_that_does_not_tell_is_no_refusal() -> None:
    assert (
        cannot_write({"name": "ada"}, REPO) == ""
        and cannot_write({"name": "ada", "auth": {"type": "oauth"}}, REPO) == ""
    )


def test_the_guides_403_costs_one_question(run, hub) -> None:
    hub.accept(TOKEN, role="read")
    message = refused(run, REPO)
    assert "403" in message and "Write access" in message and "settings/tokens" in message
    assert hub.requests == [("GET", "/api/whoami-v2")] and hub.repos == {}


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "there is no token"),
        ("hf_unknown", "answered 401"),
        ("hf_two words", "characters that no token has"),
    ],
)
def test_no_token_or_a_wrong_one(run, hub, monkeypatch, token, says) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    message = refused(run, REPO)
    assert (
        says in message
        and "HF_TOKEN" in message
        and hub.repos == {}
        and (len(token) < 8 or token not in message)
    )


# ---- what fails on the way ----

SAYS = {
    401: "is refused",
    403: "may not write there",
    404: "Check its name",
    429: "in a few minutes",
    500: "has a problem",
    503: "has a problem",
}
STEPS = ["/api/repos/create", "/preupload/", "/info/lfs", "/lfs/", "/commit/"]
FAULTS = [("/commit/", status) for status in SAYS] + [
    (step, status) for step in STEPS[:-1] for status in (403, 500)
]


@pytest.mark.parametrize(("at", "status"), FAULTS)
def test_each_refusal_has_its_message_and_no_secret(run, hub, at, status) -> None:
    hub.echo = True
    hub.refuse = lambda path: (status, {}) if at in path else None
    message = refused(run, REPO)
    assert (
        f"answered {status}" in message
        and SAYS[status] in message
        and not hub.repos.get(REPO, hub_server.Repo()).files
    )


def test_a_broken_upload_goes_on_where_it_was(run, hub) -> None:
    weights = files.sha256(run / "model" / "model.safetensors")
    hub.refuse = lambda path: (500, {}) if path == f"/lfs/{weights}" else None
    message = refused(run, REPO)
    assert "Run the same command again" in message and hub.repos[REPO].files == {}
    arrived = len(hub.uploaded)
    assert arrived == len(LARGE) - 1
    hub.refuse = lambda path: None
    publish(run, REPO)
    assert len(hub.uploaded) == len(LARGE) and len(hub.repos[REPO].commits) == 1
    publish(run, REPO)
    assert len(hub.uploaded) == len(LARGE) and len(hub.repos[REPO].commits) == 1, (
        "the same again is nothing new"
    )


def test_no_network(run, hub, monkeypatch) -> None:
    hub_server.point_at(monkeypatch, "http://127.0.0.1:9")
    message = refused(run, REPO)
    assert "nothing was sent" in message and "cannot be reached" in message


def test_other_bytes_on_the_hub_are_found(run, hub, monkeypatch) -> None:
    monkeypatch.setattr(
        "hub_server._sha256",
        lambda content, real=hub_server._sha256: real(
            content
            + b"x"
            * (
                content == (run / BUNDLE).read_bytes()
                and any("/commit/" in path for _, path in hub.requests)
            )
        ),
    )
    assert f"other bytes than were sent of {BUNDLE}" in refused(run, REPO)


def test_an_address_with_a_password(run, hub, monkeypatch) -> None:
    hub_server.point_at(monkeypatch, hub.url.replace("://", "://ada:sesame@"))
    message = refused(run, REPO, kind=ConfigError)
    assert "HF_ENDPOINT" in message and "sesame" not in message and hub.requests == []


@pytest.mark.parametrize(
    "repo",
    ["lights", "a/b/c", "ada/..", "ada/x--y", "../x", "ada/", "/x", "a d/x", "https://hf.co/a/b"],
)
def test_no_name_of_a_repository(run, hub, repo) -> None:
    assert repr(repo) in refused(run, repo) and hub.requests == []


# ---- the command, and runs of other shapes ----


def test_the_command(run, hub, tmp_path, capsys) -> None:
    assert main(["publish", str(run), "--repo", REPO, "--dry-run"]) == 0 and hub.requests == []
    assert main(["publish", str(run), "--repo", REPO, "--public", "--data"]) == 0
    assert not hub.repos[REPO].private and "data/rows.jsonl" in hub.repos[REPO].files
    capsys.readouterr()
    assert (
        main(["publish", str(finished_run.make(tmp_path / "bad", passed=False)), "--repo", REPO])
        == 1
    )
    assert main(["publish", str(tmp_path), "--repo", REPO]) == 2
    err = capsys.readouterr().err
    assert (
        "did not pass the gate" in err
        and "not the folder of a run" in err
        and "Traceback" not in err
    )


def test_a_notebook_offers_it_and_sends_nothing_unasked(run, hub, capsys) -> None:
    offer(run)
    assert (
        f"publish {run} --repo user/name --dry-run" in capsys.readouterr().out
        and hub.requests == []
    )
    offer(run, REPO)
    assert (
        hub.repos[REPO].private
        and BUNDLE in hub.repos[REPO].files
        and REPO in capsys.readouterr().out
    )
    (run / BUNDLE).unlink()
    offer(run)
    assert "finish to_task.ipynb first" in capsys.readouterr().out


def test_a_run_that_is_not_finished(run, hub) -> None:
    (run / BUNDLE).unlink()
    assert "holds no .task and no .litertlm yet" in refused(run, REPO) and hub.requests == []


def test_a_bundle_without_its_record(run, hub) -> None:
    (run / f"{BUNDLE}.json").unlink()
    assert f"{BUNDLE}.json: is missing" in refused(run, REPO, kind=BundleError, force=True)


def test_a_bundle_of_another_model(run, hub) -> None:
    finished_run.change(run / f"{BUNDLE}.json", model_sha256="f" * 64)
    assert (
        "was made from another model" in refused(run, REPO, kind=BundleError, force=True)
        and hub.requests == []
    )


def test_a_model_tuned_elsewhere(run, hub, tmp_path) -> None:
    (run / "model").rename(tmp_path / "tuned elsewhere")
    told = files.read_json(run / "summary.json")
    told["settings"]["to_task"]["model"] = str(tmp_path / "tuned elsewhere")
    files.write_json(run / "summary.json", told | {"base": None, "files": {}})
    publish(run, REPO)
    got = hub.repos[REPO].files
    assert (
        got["model.safetensors"]
        == (tmp_path / "tuned elsewhere" / "model.safetensors").read_bytes()
    )
    assert (
        b"tuned elsewhere" not in b"".join(got.values())
        and "base model" not in got[CARD].decode().split("## Files")[0]
    )
