"""base_model: which base is found, and one message for each way a Hub can refuse, against a local server over HTTP."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import hub_server
import pytest
import tiny
from hub_server import Hub, point_at
from huggingface_hub import constants

from fgkit.errors import ModelError
from fgkit.models import base as base_model, offline_base
from fgkit.models.base import find_base, load
from fgkit.models.folder import MODEL_FILES, OPTIONAL_FILES, check_folder
from fgkit.models.spec import FUNCTIONGEMMA

TOKEN = "hf_NobodyMayReadThis123"
OTHER = "someone/some-model"
NEEDED = [name for name in MODEL_FILES if name not in OPTIONAL_FILES]
TO_OFFLINE = "--base offline"


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """A folder that passes for a whole base without a network."""
    return tiny.untrained(tmp_path_factory.mktemp("whole"))


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """No token, no cache and no way out of this machine; retries do not wait."""
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "fgkit"))
    monkeypatch.chdir(tmp_path)
    with hub_server.alone(monkeypatch, tmp_path):
        yield


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def hub(monkeypatch, whole):
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    with Hub(
        files | {"README.md": b"a card", ".gitattributes": b"", "training_args.bin": b"a pickle"}
    ) as server:
        point_at(monkeypatch, server.url)
        yield server


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Folders that `offline_base.build` was asked for; an empty list says that no substitute was made."""
    asked: list[Path] = []
    monkeypatch.setattr(
        offline_base,
        "build",
        lambda folder, name="offline": asked.append(folder) or tmp_path / "offline",
    )
    return asked


def refused(base: str = "") -> str:
    """The message of `find_base`, which must hold neither the token nor an address with it."""
    with pytest.raises(ModelError) as info:
        find_base(base)
    error: BaseException | None = info.value
    assert TOKEN not in str(error)
    return str(error)


# ---- nothing asked for ----


def test_without_base_token_and_copy_it_is_the_offline_base(built, tmp_path, hub) -> None:
    found = find_base()
    assert (found.name, found.origin.name, found.folder) == (
        "offline",
        "offline",
        tmp_path / "offline",
    )
    assert built == [tmp_path / "fgkit" / "offline-base"] and hub.paths == []
    for part in (
        f"No token and no complete local copy of {FUNCTIONGEMMA}",
        "Gemma 3 270M",
        "would start better",
        f"https://huggingface.co/{FUNCTIONGEMMA}",
        "HF_TOKEN",
    ):
        assert part in found.announcement
    assert "\n" not in found.announcement


def test_offline_by_name_even_with_a_token(built, token, hub) -> None:
    found = find_base("offline")
    assert found.origin.name == "offline" and built and hub.paths == []
    assert found.announcement.startswith("You asked for the offline base.")


def test_a_copy_on_this_machine_needs_no_token(built, hub, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    first = find_base()
    monkeypatch.delenv("HF_TOKEN")
    hub.paths.clear()
    again = find_base()
    assert (again.name, again.folder, again.origin.name) == (
        FUNCTIONGEMMA,
        first.folder,
        FUNCTIONGEMMA,
    )
    assert "from the copy on this machine" in again.announcement and hub.paths == [] and built == []


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.model"])
def test_half_a_copy_and_no_token_is_no_copy(built, hub, monkeypatch, missing) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (find_base().folder / missing).unlink()
    monkeypatch.delenv("HF_TOKEN")
    assert find_base().origin.name == "offline" and len(built) == 1


# ---- from the Hub ----


@pytest.mark.parametrize("base", ["", FUNCTIONGEMMA, OTHER])
def test_with_a_token_it_comes_from_the_hub(built, token, hub, base) -> None:
    found = find_base(base)
    assert (found.name, found.origin.name) == (
        base or FUNCTIONGEMMA,
        FUNCTIONGEMMA,
    ) and found.name in found.announcement
    files = {path.name: path.read_bytes() for path in found.folder.iterdir()}
    assert set(NEEDED) < set(files) <= set(MODEL_FILES) and files == {
        name: hub.files[name] for name in files
    }
    assert hub.tokens == {f"Bearer {TOKEN}"} and built == []


REFUSALS = {
    "gated, no access": (
        403,
        {"X-Error-Code": "GatedRepo"},
        ["gated", "accept the licence", "settings/tokens"],
    ),
    "gated, no token": (
        401,
        {"X-Error-Code": "GatedRepo"},
        ["gated", "accept the licence", "settings/tokens"],
    ),
    "token refused": (
        401,
        {"X-Error-Message": "Invalid credentials in Authorization header"},
        ["answered 401", "is refused", "Create a new one"],
    ),
    "not known": (
        404,
        {"X-Error-Code": "RepoNotFound"},
        ["no model of this name", "Check the spelling and the token"],
    ),
    "not known, no token": (
        401,
        {"X-Error-Code": "RepoNotFound"},
        ["no model of this name", "Check the spelling"],
    ),
    "token too weak": (
        403,
        {"X-Error-Message": "fine-grained"},
        ["answered 403", "may not read", "Read access"],
    ),
    "too many": (429, {}, ["answered 429", "Try again in a few minutes"]),
    "too many, with a wait": (
        429,
        {"Retry-After": "1"},
        ["answered 429", "Try again in a few minutes"],
    ),
    "broken": (500, {}, ["answered 500", "The Hub has a problem", "later"]),
    "overloaded": (503, {}, ["answered 503", "The Hub has a problem", "later"]),
}


@pytest.mark.parametrize(("base", "at"), [("", "/api/models/"), (OTHER, "/model.safetensors")])
@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_has_its_message_and_is_no_reason_for_a_substitute(
    built, token, hub, case, at, base
) -> None:
    status, headers, parts = REFUSALS[case]
    hub.refuse = lambda path: (status, headers) if at in path else None
    message = refused(base)
    assert [
        part for part in [base or FUNCTIONGEMMA, *parts, TO_OFFLINE] if part not in message
    ] == []
    assert "cannot be reached" not in message and built == []
    assert f"Bearer {TOKEN}" in hub.tokens


def test_refusals_differ(built, token, hub) -> None:
    messages = {}
    for case in (
        "gated, no access",
        "token refused",
        "not known",
        "token too weak",
        "too many",
        "broken",
    ):
        status, headers, _ = REFUSALS[case]
        hub.refuse = lambda path: (status, headers)
        messages[case] = refused(OTHER)
    hub.refuse = lambda path: None
    assert len(set(messages.values())) == len(messages) == 6


@pytest.mark.parametrize("base", ["", OTHER])
def test_no_network(built, token, base) -> None:
    message = refused(base)
    for part in (base or FUNCTIONGEMMA, "cannot be reached", "Check the network", TO_OFFLINE):
        assert part in message
    assert built == []


def test_a_named_base_without_token_asks_the_hub(built, hub) -> None:
    hub.refuse = lambda path: (401, {"X-Error-Code": "GatedRepo"})
    assert "accept the licence" in refused(FUNCTIONGEMMA) and hub.tokens == {None} and built == []


def test_offline_mode(built, token, hub, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused()
    assert "HF_HUB_OFFLINE" in message and TO_OFFLINE in message and hub.paths == [] and built == []


def test_a_whole_copy_does_without_the_network(built, token, hub, monkeypatch) -> None:
    first = find_base(OTHER)
    point_at(monkeypatch, "http://127.0.0.1:9")
    assert find_base(OTHER).folder == first.folder


def test_a_download_that_breaks_off_goes_on_where_it_was(built, token, hub) -> None:
    hub.cut = {"model.safetensors"}
    message = refused(OTHER)
    for part in ("broke off", "run again", "finished files are kept", TO_OFFLINE):
        assert part in message
    assert "Free some space" not in message and built == []
    hub.cut = set()
    hub.paths.clear()
    check_folder(find_base(OTHER).folder)
    assert any("model.safetensors" in path for path in hub.paths)
    assert not any("/resolve/" in path and path.endswith("/tokenizer.json") for path in hub.paths)


def test_a_damaged_copy_says_what_to_delete(built, token, hub, tmp_path) -> None:
    weights = find_base(OTHER).folder / "model.safetensors"
    weights.resolve().write_bytes(weights.read_bytes()[:-8])
    message = refused(OTHER)
    kept = tmp_path / "hub" / "models--someone--some-model"
    assert f"Delete {kept} first" in message and "incomplete" in message and TO_OFFLINE in message
    shutil.rmtree(kept)
    check_folder(find_base(OTHER).folder)  # the remedy works


def test_a_model_of_another_kind_is_not_taken(built, token, hub) -> None:
    del hub.files["tokenizer.model"], hub.files["model.safetensors"]
    message = refused(OTHER)
    assert (
        "tokenizer.model is missing" in message
        and "model.safetensors is missing" in message
        and built == []
    )


def test_a_full_disk(built, token, hub, monkeypatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download._chmod_and_move", full)
    message = refused(OTHER)
    assert "No space left on device" in message and "HF_HOME" in message and built == []


@pytest.mark.parametrize("bad", ["hf_\u201cquoted\u201d", "hf_two words", "hf_\x07bell"])
def test_a_token_that_cannot_be_one(built, hub, monkeypatch, bad) -> None:
    monkeypatch.setenv("HF_TOKEN", bad)
    message = refused()
    assert (
        "characters that no token has" in message and bad not in message and TO_OFFLINE in message
    )
    assert hub.paths == [] and built == []


@pytest.mark.parametrize(
    "base",
    [
        "no-such-folder",
        "./no/folder",
        "/no/such",
        "~/none",
        "a/b/c",
        "a b/c",
        "../x",
        "a/..b",
        "x/y--z",
        "a/b.git",
        "https://huggingface.co/x",
        "a/\u00fc",
        "a//b",
        "a/",
    ],
)
def test_a_base_that_is_neither_folder_nor_name(built, token, hub, base) -> None:
    message = refused(base)
    assert repr(base) in message and "no such folder" in message and TO_OFFLINE in message
    assert hub.paths == [] and built == []


# ---- a folder ----


def test_a_folder(built, whole, hub) -> None:
    found = find_base(str(whole))
    assert (found.name, found.folder, found.origin.name) == (
        str(whole),
        whole,
        FUNCTIONGEMMA,
    ) and str(whole) in found.announcement
    assert hub.paths == [] and built == []


def test_a_relative_folder_goes_before_the_hub(built, whole, tmp_path, hub) -> None:
    tiny.copy_of(whole, tmp_path / "some" / "model")
    assert find_base("some/model").folder == tmp_path / "some" / "model" and hub.paths == []


@pytest.mark.parametrize(("recorded", "offline"), [("offline", True), (FUNCTIONGEMMA, False)])
def test_a_folder_remembers_its_base(whole, tmp_path, recorded, offline) -> None:
    folder = tiny.copy_of(whole, tmp_path / "tuned")
    (folder / "fgkit.json").write_text(json.dumps({"base": recorded}), encoding="utf-8")
    found = find_base(str(folder))
    assert (found.name, found.origin.name) == (recorded, recorded if offline else FUNCTIONGEMMA)


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"base": 7}'])
def test_a_damaged_record_is_no_traceback(whole, tmp_path, record) -> None:
    from fgkit.errors import FgkitError

    folder = tiny.copy_of(whole, tmp_path / "tuned")
    (folder / "fgkit.json").write_text(record, encoding="utf-8")
    try:
        assert find_base(str(folder)).name == str(folder)
    except FgkitError as error:
        assert "fgkit.json" in str(error)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(built, whole, tmp_path, name) -> None:
    folder = tiny.copy_of(whole, tmp_path / "copy")
    (folder / name).unlink()
    message = refused(str(folder))
    assert (
        f"{name} is missing" in message
        and str(folder) in message
        and message.count(" is missing") == 1
    )
    assert "copy all files" in message and built == []


def test_all_problems_of_a_folder_in_one_message(whole, tmp_path) -> None:
    folder = tiny.copy_of(whole, tmp_path / "copy")
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    message = refused(str(folder))
    assert (
        "tokenizer.json is missing" in message
        and "config.json is missing" in message
        and "incomplete" in message
    )


@pytest.mark.parametrize("name", sorted(OPTIONAL_FILES))
def test_what_a_folder_can_do_without(whole, tmp_path, name) -> None:
    folder = tiny.copy_of(whole, tmp_path / "copy")
    (folder / name).unlink(missing_ok=True)
    check_folder(folder)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"\xff" * 64, b"\x10" + bytes(7) + b"{"])
def test_weights_without_a_header(whole, tmp_path, damage) -> None:
    folder = tiny.copy_of(whole, tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(damage)
    assert "model.safetensors" in refused(str(folder))


# ---- loading ----


def test_load_is_bfloat16_eager_and_runs_no_code(tmp_path) -> None:
    import torch

    folder = tiny.model_folder(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "own.py").write_text(
        "raise SystemExit('code of the folder was run')\n", encoding="utf-8"
    )
    config["auto_map"] = {"AutoModelForCausalLM": "own.Model", "AutoConfig": "own.Config"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model, tokenizer = base_model.load(str(folder))
    assert model.dtype == torch.bfloat16 and not model.training
    assert model.config._attn_implementation == "eager" and type(model).__module__.startswith(
        "transformers."
    )
    assert tokenizer("<start_function_call>").input_ids[-1:] == [48]
    assert load is base_model.load
