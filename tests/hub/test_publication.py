"""What travels when a run is published: no link is followed, no secret of any kind, no odd name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import finished_run
import pytest
from finished_run import BUNDLE, TOOLS

from fgkit import checksums, files
from fgkit.errors import CheckFailed, FgkitError
from fgkit.hub.publication import gather
from fgkit.hub.published_files import made, published, require_no_secrets
from fgkit.hub.upload import publish
from tests.test_credentials import ODD, PEM, TOKENS

REPO = "ada/lights"
KEY = PEM.format("OPENSSH ", "\n")


@pytest.fixture
def run(tmp_path):
    return finished_run.make(tmp_path / "run")


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """Somebody's private file, outside the run."""
    path = tmp_path / "home" / ".ssh" / "id_rsa"
    path.parent.mkdir(parents=True)
    path.write_text(KEY, encoding="utf-8")
    return path


def refused(run: Path, kind: type[FgkitError] = FgkitError, **options: bool) -> str:
    """The message with which publishing is refused, forced and as a dry run too."""
    with pytest.raises(kind) as info:
        publish(run, REPO, force=True, dry_run=True, **options)
    return str(info.value)


# ---- links ----

TRAVELS = [
    BUNDLE,
    f"{BUNDLE}.json",
    "summary.json",
    *(
        f"model/{name}"
        for name in (
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "chat_template.jinja",
            "fgkit.json",
            "SHA256SUMS",
        )
    ),
]


@pytest.mark.parametrize("name", TRAVELS)
@pytest.mark.parametrize("relative", [False, True])
def test_a_link_in_place_of_a_file_is_refused_by_name(run, name, relative) -> None:
    """Even where the link leads to the very bytes that were scored."""
    path = run / name
    moved = path.rename(run.parent / f"moved-{path.name}")
    path.symlink_to(os.path.relpath(moved, path.parent) if relative else moved)
    assert f"{path}: is a symbolic link" in refused(run)


@pytest.mark.parametrize(
    "name", ["special_tokens_map.json", "added_tokens.json", "vocabulary.json", "other.task"]
)
def test_a_link_to_a_private_key_does_not_travel(run, elsewhere, name, capsys) -> None:
    path = run / name if name.endswith(".task") else run / "model" / name
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere)
    try:
        names = [file.name for file in gather(run).files]
    except FgkitError as error:
        assert f"{path}: is a symbolic link" in str(error) and "MIIE" not in str(error)
    else:
        assert name not in names
    assert "MIIE" not in "".join(capsys.readouterr())


def test_a_link_to_nothing_is_refused(run) -> None:
    (run / "model" / "added_tokens.json").symlink_to("nowhere")
    assert "added_tokens.json: is a symbolic link" in refused(run)


def test_a_folder_that_is_a_link_is_refused(run) -> None:
    (run / "model").rename(run.parent / "moved")
    (run / "model").symlink_to(run.parent / "moved")
    assert f"{run / 'model'}: is a symbolic link" in refused(run)


def test_all_links_come_in_one_message(run, elsewhere) -> None:
    for name in ("added_tokens.json", "special_tokens_map.json"):
        (run / "model" / name).unlink(missing_ok=True)
        (run / "model" / name).symlink_to(elsewhere)
    message = refused(run)
    assert "added_tokens.json" in message and "special_tokens_map.json" in message


def test_linked_rows_are_refused_when_they_would_travel(run) -> None:
    rows = run.parent / "rows.jsonl"
    rows.rename(run.parent / "stored.jsonl")
    rows.symlink_to(run.parent / "stored.jsonl")
    assert gather(run), "without the data they are not touched"
    assert f"{rows}: is a symbolic link" in refused(run, data=True)


def test_the_run_itself_may_be_named_by_a_link(run) -> None:
    link = run.parent / "latest"
    link.symlink_to(run)
    assert gather(link).files


def test_a_pipe_is_refused_and_not_waited_for(run) -> None:
    os.mkfifo(run / "other.task")
    assert "other.task: is a pipe" in refused(run)


# ---- names ----


@pytest.mark.parametrize(
    "name",
    [
        "a`b.task",
        "a'b.task",
        'a"b.task',
        "a\nb.task",
        "](x).task",
        "<b>.task",
        "-a.task",
        "a$b.task",
    ],
)
def test_a_name_that_is_code_somewhere_is_refused(run, name) -> None:
    os.rename(run / BUNDLE, run / name)
    os.rename(run / f"{BUNDLE}.json", run / f"{name}.json")
    assert "is no name to publish" in refused(run)


@pytest.mark.parametrize("name", ["lämpchen.task", "a b (2).task", "a+b_c-1.0.task"])
def test_an_ordinary_name_is_not(run, name) -> None:
    os.rename(run / BUNDLE, run / name)
    os.rename(run / f"{BUNDLE}.json", run / f"{name}.json")
    assert name in [file.name for file in gather(run).files]


def test_a_name_that_is_a_token_is_refused_without_repeating_it(run) -> None:
    name = f"{TOKENS['GitHub']}.task"
    os.rename(run / BUNDLE, run / name)
    os.rename(run / f"{BUNDLE}.json", run / f"{name}.json")
    message = refused(run, CheckFailed)
    assert "the name of ghp_***" in message and name not in message


def test_a_token_that_only_the_card_would_show(run) -> None:
    """The name of the file with the rows is in no published file but the card."""
    summary = files.read_json(run / "summary.json")
    for settings in summary["settings"].values():
        settings["eval_data"] = f"/home/ada/{TOKENS['AWS']}.jsonl"
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    message = refused(run, CheckFailed)
    assert "README.md holds an access token" in message and TOKENS["AWS"] not in message


# ---- secrets ----

SECRETS = {**TOKENS, "PEM": KEY, "password": ODD[1], "token in an address": "https://TOKEN@host/x"}


PLACES = [
    *(("fgkit.json", name) for name in SECRETS),
    *(
        (place, name)
        for place in ("config.json", "chat_template.jinja", "sidecar")
        for name in ("Anthropic", "PEM", "password")
    ),
]


@pytest.mark.parametrize(("place", "name"), PLACES)
def test_a_secret_in_what_would_travel_is_refused(tmp_path, place, name) -> None:
    secret = SECRETS[name]
    run = finished_run.make(
        tmp_path / "run", **({"note": f"curl {secret} x"} if place == "fgkit.json" else {})
    )
    model = run / "model"
    if place == "config.json":
        (model / place).write_text(json.dumps({"_name_or_path": secret}), encoding="utf-8")
    if place == "chat_template.jinja":
        (model / place).write_text(f"{{# {secret} #}}", encoding="utf-8")
    if place == "sidecar":
        path = run / f"{BUNDLE}.json"
        record = {**files.read_json(path), "prompt_prefix": secret}
        path.write_text(json.dumps(record), encoding="utf-8")
    (model / checksums.NAME).unlink()
    checksums.write(model)
    message = refused(run, CheckFailed)
    file = f"{BUNDLE}.json" if place == "sidecar" else place
    assert f"{file} holds a" in message and secret not in message and "revoke it" in message


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "\\u0067hp_' + TOKENS["GitHub"][4:].encode() + b'"}',
        b'{"u": "https:\\/\\/ada:sesame@h"}',
        b'{"a": "' + TOKENS["GitHub"].encode() + b'", "a": "x"}',
        json.dumps({TOKENS["GitHub"]: 1}).encode(),
        json.dumps([[[{"a": [TOKENS["GitHub"]]}]]]).encode(),
        TOKENS["GitHub"].encode(),
        b"{" + TOKENS["GitHub"].encode(),
        b"\xff\xfe" + TOKENS["GitHub"].encode("utf-16-le"),
        b"[" * 5000 + b'"' + TOKENS["GitHub"].encode(),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "data/rows.jsonl"])
def test_escapes_and_encodings_hide_none(name, content) -> None:
    with pytest.raises(CheckFailed, match="holds an"):
        require_no_secrets([made(name, content, "x")])


def test_weights_may_carry_text(tmp_path) -> None:
    header = json.dumps({"__metadata__": {"note": TOKENS["OpenAI"]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckFailed, match="model.safetensors holds"):
        require_no_secrets([published("model.safetensors", path, "", rows_too=False)])


def test_a_vocabulary_may_carry_text() -> None:
    with pytest.raises(CheckFailed, match="tokenizer.model holds"):
        require_no_secrets(
            [made("tokenizer.model", b"\n\x40" + TOKENS["GitHub"].encode() + b"\x15")]
        )


def test_what_an_ordinary_run_holds_is_no_secret(tmp_path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    tools = json.loads(json.dumps(TOOLS))
    tools[0]["function"]["description"] = (
        "Trains with sk-learn; git+https://github.com/a/b.git@v1, git@github.com:a/b.git, "
        f"see https://unpkg.com/@scope/x@1.0 or mail ada@example.com. {digest}"
    )
    run = finished_run.make(
        tmp_path / "run", tools=tools, note=base64.b64encode(os.urandom(4000)).decode()
    )
    assert gather(run).files
    pieces = {
        f"{piece}": n for n, piece in enumerate(["http://", "://", "@", ":", "hf_", "sk-", "AKIA"])
    }
    require_no_secrets([made("tokenizer.json", json.dumps(pieces, separators=(",", ":")).encode())])
