"""bundle_checks: whole bundles pass; each damage that a user can meet fails the check that is named for it, and only where it must."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fgkit import checks, licence, prompts
from fgkit.bundles import create as bundle, litertlm, read as bundle_files, task
from fgkit.bundles.checks import check_bundle, check_file
from fgkit.bundles.inspection import STOPS
from fgkit.calls import Call
from fgkit.config.task import TaskConfig
from fgkit.dataset.records import request
from fgkit.dataset.rendered import RenderedRecords
from fgkit.errors import CheckFailed
from fgkit.prompts import PromptSetup
from tests.bundles.test_create import FAKE_TFLITE, tiny_tokenizer

PIECES = 484
SHAPES = {
    "prefill_16": {},
    "decode": {"inputs": {"mask": [1, 1, 1, 1024]}, "outputs": {"logits": [1, 1, PIECES]}},
}
NAMES = [
    "format",
    "whole",
    "record",
    "network",
    "tokenizer",
    "model's tokenizer",
    "start, stop tokens",
    "prompt texts",
    "prompts fit",
    "licence notice",
]
KINDS = (".task", ".litertlm")
shapes = dict(SHAPES)


@pytest.fixture(autouse=True)
def stand_in_network(monkeypatch):
    monkeypatch.setattr(bundle_files, "signatures", lambda source: shapes)
    yield
    shapes.update(SHAPES)


def make(folder: Path, kind: str, **options) -> Path:
    """A run's folder with a whole bundle of this kind, and the model folder it came from."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "a.tflite").write_bytes(FAKE_TFLITE)
    (folder / "model" / "tokenizer.model").write_bytes(tiny_tokenizer())
    inputs = folder / "a.tflite", folder / "model" / "tokenizer.model", folder / f"my{kind}"
    sidecar = {"style": "template"}
    if kind == ".task":
        return bundle.create_task(*inputs, sidecar=sidecar, **options)
    return bundle.create_litertlm(*inputs, style="template", sidecar=sidecar, **options)


TURN = "<start_of_turn>developer\nTools.<end_of_turn>\n"


def failed(found: list[checks.Check]) -> list[str]:
    return [check.name for check in found if check.status == "fail"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_bundle_passes_every_check(tmp_path, kind):
    path = make(tmp_path, kind)
    found = check_bundle(path, model=tmp_path / "model", texts=["<bos>make it red", "short"])
    assert [check.name for check in found] == NAMES and [check.number for check in found] == list(
        range(1, 11)
    )
    assert {check.status for check in found} == {"pass"}, checks.table(found)
    assert "KV cache of 1024 tokens; 484 pieces" in found[3].reason


@pytest.mark.parametrize("profile", bundle.PROFILES)
def test_every_profile_passes_and_is_named(tmp_path, profile):
    turn = TURN if bundle.PROFILES[profile].embeds_declarations else ""
    found = check_bundle(make(tmp_path, ".task", profile=profile, developer_turn=turn))
    assert not failed(found) and found[7].reason == f"those of {profile}."


def test_what_cannot_be_asked_is_skipped_and_says_why(tmp_path):
    path = make(tmp_path, ".task")
    path.with_name("my.task.json").unlink()
    reasons = {
        check.name: check.reason for check in check_bundle(path) if check.status == "skipped"
    }
    assert reasons == {
        "record": "there is no .json beside it.",
        "model's tokenizer": "no model folder was given.",
        "prompts fit": "no rows were given.",
    }


# ---- damage: what, the kinds of bundle it can happen to, the checks that fail


def corrupted(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(FAKE_TFLITE) + 3000] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def mislabelled(path: Path) -> None:
    other = make(path.parent / "other", ".litertlm" if path.suffix == ".task" else ".task")
    shutil.copy(other, path)


def a_page_of_an_error(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>404</title>")


def a_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n")


def a_record_of_another(path: Path) -> None:
    bundle_files.update_sidecar(path, sha256="0")


def no_notice(path: Path) -> None:
    (path.parent / licence.NOTICE).unlink()


def another_notice(path: Path) -> None:
    (path.parent / licence.NOTICE).write_text("All rights reserved")


def another_vocabulary(path: Path) -> None:
    shapes["decode"] = SHAPES["decode"] | {"outputs": {"logits": [1, 1, 262_144]}}


def no_language_model(path: Path) -> None:
    shapes.pop("decode")


DAMAGE = [
    (corrupted, ".task", ["whole", "record"]),
    (corrupted, ".litertlm", ["record"]),
    (truncated, ".task", ["whole"]),
    (truncated, ".litertlm", ["whole"]),
    (mislabelled, ".task", ["format", "whole"]),
    (mislabelled, ".litertlm", ["format", "whole"]),
    (a_page_of_an_error, ".task", ["format", "whole"]),
    (a_pointer, ".litertlm", ["format", "whole"]),
    *(
        (damage, kind, [name])
        for kind in KINDS
        for damage, name in (
            (a_record_of_another, "record"),
            (no_notice, "licence notice"),
            (another_notice, "licence notice"),
            (another_vocabulary, "network"),
            (no_language_model, "network"),
        )
    ),
]


@pytest.mark.parametrize(
    ("damage", "kind", "names"), DAMAGE, ids=lambda value: getattr(value, "__name__", None)
)
def test_damage_fails_the_check_that_is_named_for_it(tmp_path, damage, kind, names):
    path = make(tmp_path, kind)
    damage(path)
    found = check_bundle(path, model=tmp_path / "model", texts=["short"])
    assert failed(found)[0] == names[0] and set(failed(found)) <= set(names), checks.table(found)
    with pytest.raises(CheckFailed, match=names[0]):
        checks.require(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_another_model_is_named(tmp_path, kind):
    path = make(tmp_path, kind)
    (tmp_path / "model" / "tokenizer.model").write_bytes(tiny_tokenizer(without="<escape>"))
    found = check_bundle(path, model=tmp_path / "model")
    assert (
        failed(found) == ["model's tokenizer"]
        and "1 pieces differ, first at id 52" in found[5].reason
    )


def foreign(path: Path, *, profile=None, tokenizer: bytes | None = None, **metadata) -> Path:
    """The bundle with other members or other metadata, and no record beside it: somebody else's."""
    record = path.with_name(f"{path.name}.json")
    if path.suffix == ".task":
        (path.parent / "t.model").write_bytes(tokenizer or tiny_tokenizer())
        if profile:
            bundle._bundle(path.parent / "a.tflite", path.parent / "t.model", path, profile)
        else:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            members[task.TOKENIZER] = tokenizer
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
    else:
        real = litertlm._metadata
        with pytest.MonkeyPatch.context() as patch:

            def changed(*arguments):
                message = real(*arguments)
                for field in metadata.get("clear", ()):
                    message.ClearField(field)
                message.MergeFrom(type(message)(**metadata.get("set", {})))
                return message

            patch.setattr(litertlm, "_metadata", changed)
            litertlm.write(
                path,
                path.parent / "a.tflite",
                path.parent / "model" / "tokenizer.model",
                style=metadata.get("style", "template"),
                context=metadata.get("context", 1024),
            )
    record.unlink(missing_ok=True)
    return path


GUIDE = bundle.PROFILES["guide"]


@pytest.mark.parametrize(
    ("profile", "name", "reason"),
    [
        (
            {"stop_tokens": ("<eos>", "<end_of_turn>")},
            "start, stop tokens",
            "does not stop at <start_function_response>",
        ),
        (
            {"stop_tokens": ("<start_function_response>",)},
            "start, stop tokens",
            "does not stop at <end_of_turn>",
        ),
        (
            {"start_token": "<eos>"},
            "start, stop tokens",
            "the start token is '<eos>', expected '<bos>'",
        ),
        ({"prompt_prefix": "User: "}, "prompt texts", "which is no profile's"),
    ],
)
def test_a_foreign_task_is_told_what_it_lacks(tmp_path, profile, name, reason):
    found = check_bundle(foreign(make(tmp_path, ".task"), profile=replace(GUIDE, **profile)))
    assert failed(found) == [name] and reason in next(
        check.reason for check in found if check.status == "fail"
    )


def test_a_foreign_tokenizer_without_the_control_tokens_is_named(tmp_path):
    found = check_bundle(
        foreign(make(tmp_path, ".task"), tokenizer=tiny_tokenizer(without="<start_function_call>"))
    )
    assert failed(found) == ["tokenizer"] and "expected '<start_function_call>'" in found[4].reason


@pytest.mark.parametrize(
    ("metadata", "names", "reason"),
    [
        (
            {"clear": ["stop_tokens"]},
            ["start, stop tokens"],
            "does not stop at <end_of_turn>, <start_function_response>",
        ),
        (
            {"clear": ["llm_model_type"]},
            ["prompt texts"],
            "LiteRT-LM takes it for 'generic_model', expected 'function_gemma'",
        ),
        (
            {"set": {"jinja_prompt_template": "{{ messages }}"}},
            ["prompt texts"],
            "is not the one that was trained",
        ),
        (
            {"style": "litert_lm"},
            ["prompt texts"],
            "tools are written by LiteRT-LM, but the model was trained in style 'template'",
        ),
        ({"context": 4096}, ["network"], "its metadata say 4096 tokens, its network takes 1024"),
    ],
)
def test_a_foreign_litertlm_is_told_what_it_lacks(tmp_path, metadata, names, reason):
    found = check_bundle(foreign(make(tmp_path, ".litertlm"), **metadata))
    assert failed(found) == names and reason in next(
        check.reason for check in found if check.status == "fail"
    )


def test_a_foreign_litertlm_that_does_not_say_its_length_is_no_fault(tmp_path):
    assert not failed(check_bundle(foreign(make(tmp_path, ".litertlm"), context=0)))


def test_stop_tokens_that_the_profile_does_not_have_are_named_where_it_is_known(tmp_path):
    path = make(tmp_path, ".task", profile="google")
    bundle_files.update_sidecar(path, profile="guide")
    assert "does not stop at <end_function_call>, <eos>" in check_bundle(path)[6].reason
    path = make(tmp_path, ".task", profile="guide")
    bundle_files.update_sidecar(path, profile="google")
    assert (
        "it stops at <end_function_call>, <eos>, which its profile does not"
        in check_bundle(path)[6].reason
    )
    assert STOPS == {"<end_of_turn>", "<start_function_response>"}


def test_the_longest_prompt_is_counted_with_the_bundles_own_tokenizer(tmp_path):
    path = make(tmp_path, ".task")
    shapes["decode"] = SHAPES["decode"] | {"inputs": {"mask": [1, 1, 1, 20]}}
    text = "<bos><start_of_turn>" + "\u00e9" * 9  # 2 + 9 characters of two bytes each: 20 tokens
    assert not failed(check_bundle(path, texts=["x", text]))
    found = check_bundle(path, texts=["x", text + "!"])
    assert (
        failed(found) == ["prompts fit"]
        and "has 21 tokens, the KV cache 20: 1 too many" in found[8].reason
    )


# ---- a file with what lies around it


def test_a_file_is_checked_with_the_model_and_record_beside_it(tmp_path):
    path = make(tmp_path, ".litertlm")
    found = check_file(path)
    assert not failed(found) or failed(found) == [
        "prompts fit"
    ]  # the tiny tokenizer writes long prompts
    assert found[5].status == "pass" and "of 156 prompts" in found[8].reason
    bundle_files.update_sidecar(path, tools_hash="another's")
    found = check_file(path)
    assert found[8].status == "skipped" and "trained with other tools" in found[8].reason
    path.with_name("my.litertlm.json").unlink()
    assert "no .json beside it" in check_file(path)[8].reason


def test_a_missing_file_fails_once(tmp_path):
    found = check_file(tmp_path / "absent.task")
    assert failed(found) == ["format", "licence notice"] and "No such file" in found[0].reason


def test_the_command_prints_writes_and_fails(tmp_path, capsys):
    from fgkit.cli.main import main

    path = make(tmp_path, ".task")
    bundle_files.update_sidecar(path, tools_hash="another's")
    assert main(["check", str(path), "--json", str(tmp_path / "out.json")]) == 0
    assert " 2. pass     whole" in capsys.readouterr().out
    assert [entry["name"] for entry in json.loads((tmp_path / "out.json").read_text())] == NAMES
    truncated(path)
    assert main(["check", str(path)]) == 1
    assert " 2. fail     whole" in capsys.readouterr().out


def test_to_task_stops_at_a_bundle_that_fails(tmp_path, capsys):
    from fgkit.dataset.rows import RunData
    from fgkit.workflow import stages

    path = make(tmp_path, ".task")
    rows = RunData(
        [],
        (request(1, "make it red", (Call("paint", {}),)),),
        (request(2, "hello", (Call("paint", {}),)),),
    )
    settings = TaskConfig(output=str(tmp_path))
    stages.check_bundles(settings, rows, path)
    assert "10. pass     licence notice" in capsys.readouterr().out
    (tmp_path / licence.NOTICE).unlink()
    with pytest.raises(
        CheckFailed, match=r"1 of 10 checks failed:\n10. my.task, licence notice: .* Put NOTICE"
    ):
        stages.check_bundles(settings, rows, path)


def test_texts_are_prompts_with_their_answers_in_each_style():
    rows = [request(1, "make it red", (Call("paint", {}),))]
    setup = PromptSetup([], styles=("template", "flutter_gemma"))
    template, plugin = RenderedRecords(rows, setup).texts()
    assert template.startswith(
        prompts.render(prompts.conversation("make it red"), [], add_generation_prompt=True)
    )
    assert template != plugin and "make it red" in plugin
