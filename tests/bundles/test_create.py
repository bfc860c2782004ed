"""bundle: real `.task` archives around a stand-in network and a tokenizer trained here, then damaged in every way."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from fgkit import files, licence
from fgkit.bundles import create as bundle, profiles, read as bundle_files, task as task_archive
from fgkit.errors import BundleError, ConfigError, FgkitError
from fgkit.prompts import CONTROL_TOKENS

FAKE_TFLITE = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 40


@functools.cache
def tiny_tokenizer(without: str = "") -> bytes:
    """A SentencePiece model of 484 pieces with FunctionGemma's control tokens at their ids, save the one left out."""
    import sentencepiece

    names = {
        number: token for token, number in CONTROL_TOKENS.items() if number > 3 and token != without
    }
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["make it red, green or blue", "call show alert title message hello world"] * 20
        ),
        model_writer=model,
        model_type="bpe",
        vocab_size=500,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        user_defined_symbols=[names.get(number, f"<unused{number}>") for number in range(4, 107)],
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return model.getvalue()


def hidden_from_text(token: str) -> bytes:
    """The tiny tokenizer with a token that is in the vocabulary, but of the kind that is never found in a text."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(tiny_tokenizer())
    model.pieces[
        CONTROL_TOKENS[token]
    ].type = sentencepiece_model_pb2.ModelProto.SentencePiece.CONTROL
    return model.SerializeToString()


@pytest.fixture
def inputs(tmp_path, monkeypatch) -> tuple[Path, Path, Path]:
    """A stand-in network, a tokenizer and the output's name; what a real network must hold is test_runtime's matter."""
    monkeypatch.setattr(bundle_files, "signatures", lambda path: {"prefill_16": {}, "decode": {}})
    monkeypatch.setattr(bundle, "notice_text", lambda: "the notice\n")
    (tmp_path / "a.tflite").write_bytes(FAKE_TFLITE)
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    return tmp_path / "a.tflite", tmp_path / "tokenizer.model", tmp_path / "out" / "my.task"


@pytest.mark.parametrize("profile", bundle.PROFILES)
def test_a_bundle_is_read_back_as_it_was_asked_for(inputs, profile):
    tflite, tokenizer, output = inputs
    embeds = bundle.PROFILES[profile].embeds_declarations
    turn = "<start_of_turn>developer\nTools.<end_of_turn>\n" if embeds else ""
    made = bundle.create_task(
        tflite,
        tokenizer,
        output,
        profile=profile,
        developer_turn=turn,
        sidecar={"style": "template"},
    )
    assert made == output
    info = bundle_files.read_bundle(made)
    assert info.profile == profiles.profile(profile, turn)
    assert info.sidecar["style"] == "template" and info.sidecar["stop_tokens"] == list(
        info.profile.stop_tokens
    )
    assert info.end_tag_cut == (profile != "google")
    with zipfile.ZipFile(made) as archive:
        assert (
            archive.read(task_archive.TFLITE) == FAKE_TFLITE
            and archive.read(task_archive.TOKENIZER) == tiny_tokenizer()
        )
    assert (output.parent / "NOTICE-GEMMA.txt").read_text() == "the notice\n"
    assert sorted(p.name for p in output.parent.iterdir()) == [
        "NOTICE-GEMMA.txt",
        "my.task",
        "my.task.json",
    ]


def test_the_tokenizer_of_another_vocabulary_is_refused(inputs, monkeypatch):
    tflite, tokenizer, output = inputs
    shapes = {"prefill_16": {}, "decode": {"outputs": {"logits": [1, 1, 262_144]}}}
    monkeypatch.setattr(bundle_files, "signatures", lambda path: shapes)
    with pytest.raises(
        BundleError, match="a.tflite: scores 262144 pieces, but the tokenizer has 484"
    ):
        bundle.create_task(tflite, tokenizer, output, sidecar={})
    assert not output.parent.exists()
    shapes["decode"]["outputs"]["logits"] = [1, 1, 484]
    assert bundle.create_task(tflite, tokenizer, output, sidecar={}).is_file()


def test_the_guide_profile_is_the_guides():
    guide = bundle.PROFILES["guide"]
    assert guide.start_token == "<bos>"
    assert guide.stop_tokens == (
        "<eos>",
        "<end_of_turn>",
        "<end_function_call>",
        "<start_function_response>",
    )
    assert guide.prompt_prefix == "<start_of_turn>user\n"
    assert guide.prompt_suffix == "<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize(
    "token", ["<end_function_call>", "<start_function_response>", "<start_of_turn>"]
)
def test_a_token_the_tokenizer_does_not_know_is_refused(inputs, token):
    tflite, tokenizer, output = inputs
    tokenizer.write_bytes(tiny_tokenizer(without=token))
    with pytest.raises(BundleError, match=f"{token} is (no piece|split)"):
        bundle.create_task(tflite, tokenizer, output, sidecar={})
    assert not output.exists()


def test_a_turn_token_that_text_cannot_reach_is_refused(inputs):
    tflite, tokenizer, output = inputs
    tokenizer.write_bytes(hidden_from_text("<start_of_turn>"))
    with pytest.raises(BundleError, match="<start_of_turn> is split into"):
        bundle.create_task(tflite, tokenizer, output, sidecar={})


@pytest.mark.parametrize(
    "field, value",
    [
        ("start_token", "<eos>"),
        ("stop_tokens", ("<eos>",)),
        ("prompt_prefix", "x"),
        ("prompt_suffix", ""),
    ],
)
def test_a_bundler_that_writes_something_else_is_caught(inputs, monkeypatch, field, value):
    tflite, tokenizer, output = inputs
    files.write_text(output, "old")
    real = bundle._bundle
    monkeypatch.setattr(
        bundle,
        "_bundle",
        lambda t, k, o, profile: real(t, k, o, replace(profile, **{field: value})),
    )
    with pytest.raises(BundleError, match=f"not what was asked for: {field}"):
        bundle.create_task(tflite, tokenizer, output, sidecar={})
    assert output.read_text() == "old" and list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(
    "member, message", [("tflite", "network"), ("tokenizer", "tokenizer's (bytes|pieces)")]
)
def test_other_bytes_inside_are_caught(inputs, monkeypatch, tmp_path, member, message):
    tflite, tokenizer, output = inputs
    other = tmp_path / "other"
    other.write_bytes(
        FAKE_TFLITE + b"x" if member == "tflite" else tiny_tokenizer(without="<escape>")
    )
    real = bundle._bundle
    monkeypatch.setattr(
        bundle,
        "_bundle",
        lambda t, k, o, profile: real(
            other if member == "tflite" else t, other if member == "tokenizer" else k, o, profile
        ),
    )
    with pytest.raises(BundleError, match=message):
        bundle.create_task(tflite, tokenizer, output, sidecar={})
    assert not output.exists()


def test_wrong_inputs_are_one_message_each(inputs, tmp_path, monkeypatch):
    tflite, tokenizer, output = inputs
    with pytest.raises(ConfigError, match="profile is 'phone', expected one of guide"):
        bundle.create_task(tflite, tokenizer, output, profile="phone", sidecar={})
    with pytest.raises(ConfigError, match="must end in .task"):
        bundle.create_task(tflite, tokenizer, output.with_suffix(".zip"), sidecar={})
    with pytest.raises(BundleError, match="absent.tflite: there is no such file"):
        bundle.create_task(tmp_path / "absent.tflite", tokenizer, output, sidecar={})
    broken = tmp_path / "broken" / "tokenizer.model"
    broken.parent.mkdir()
    for content in (b"", b"not a model"):
        broken.write_bytes(content)
        with pytest.raises(BundleError, match="tokenizer.model: is no SentencePiece model"):
            bundle.create_task(tflite, broken, output, sidecar={})
    monkeypatch.setattr(bundle_files, "signatures", lambda path: {"serving_default": {}})
    with pytest.raises(BundleError, match="no converted language model"):
        bundle.create_task(tflite, tokenizer, output, sidecar={})
    assert not output.exists()


@pytest.fixture
def task(inputs) -> Path:
    return bundle.create_task(*inputs, sidecar={"style": "template"})


def rewrite(path: Path, change) -> None:
    """Write the archive again with its members changed, and no record beside it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.with_name(path.name + ".json").unlink()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m.pop("METADATA"), "holds the members"),
        (lambda m: m.update({"../evil": b""}), "holds the members"),
        (lambda m: m.update({"/etc/evil": b""}), "holds the members"),
        (lambda m: m.update(METADATA=m["METADATA"][:-1]), "metadata cannot be read"),
        (lambda m: m.update(METADATA=b"\x2a\x02\xff\xff"), "metadata cannot be read"),
        (lambda m: m.update(TOKENIZER_MODEL=b""), "no SentencePiece model"),
        (lambda m: m.update(TF_LITE_PREFILL_DECODE=b"weights"), "is no .tflite"),
    ],
)
def test_a_foreign_archive_is_one_message(task, change, message):
    rewrite(task, change)
    with pytest.raises(BundleError, match=message):
        bundle_files.read_bundle(task)


def test_every_truncation_and_flipped_byte_is_noticed(task):
    data = task.read_bytes()
    task.with_name(task.name + ".json").unlink()
    assert bundle_files.read_bundle(task).sidecar is None
    for size in range(0, len(data) - 1, len(data) // 23):
        task.write_bytes(data[:size])
        with pytest.raises(BundleError, match="my.task"):
            bundle_files.read_bundle(task)
    for place in (3000, len(data) // 2, len(data) - 400):
        task.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(BundleError, match="my.task"):
            bundle_files.read_bundle(task)


def test_missing_and_compressed_archives(task):
    with pytest.raises(BundleError, match="there is no such file"):
        bundle_files.read_bundle(task.with_name("absent.task"))
    with zipfile.ZipFile(task) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(task, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(BundleError, match="its members are compressed"):
        bundle_files.read_bundle(task)


def test_the_record_beside_belongs_to_these_bytes(task):
    bundle_files.update_sidecar(task, scores={"base": None})
    assert bundle_files.read_bundle(task).sidecar["scores"] == {"base": None}
    assert bundle_files.read_bundle(task).sidecar["style"] == "template"
    beside = task.with_name(task.name + ".json")
    beside.write_text(json.dumps({"sha256": "0"}))
    with pytest.raises(BundleError, match="describes another file"):
        bundle_files.read_bundle(task)
    beside.write_text("{")
    with pytest.raises(FgkitError, match="is not JSON"):
        bundle_files.read_bundle(task)


def test_the_notice_names_the_terms(monkeypatch, tmp_path):
    monkeypatch.setattr(licence, "__file__", str(tmp_path / "fgkit" / "licence.py"))
    monkeypatch.setattr(licence.importlib.metadata, "files", lambda name: None)
    with pytest.raises(BundleError, match="NOTICE-GEMMA.txt: missing"):
        licence.notice_text()
    (tmp_path / "NOTICE-GEMMA.txt").write_text(
        "Gemma is provided under and subject to the Gemma Terms of Use"
    )
    assert "Gemma Terms of Use" in licence.notice_text()


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.one_of(st.integers(0, 2**63), st.binary(max_size=300)))
    )
)
def test_protobuf_round_trip(fields):
    def varint(value: int) -> bytes:
        out = b""
        while value >= 0x80:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    data = b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )
    assert list(task_archive._protobuf(data)) == fields


@given(st.binary(max_size=200))
def test_any_metadata_is_read_or_refused(data):
    try:
        assert isinstance(task_archive._parse_metadata(data, Path("x.task")), profiles.Profile)
    except BundleError as error:
        assert "x.task" in str(error)
