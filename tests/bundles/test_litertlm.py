"""litertlm_archive: real `.litertlm` files around a stand-in network, read back, then damaged in every way."""

from __future__ import annotations

import os
import shutil

import pytest
from crash_points import crash_points
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit import atomic_files, files, prompts
from fgkit.bundles import create as bundle, litertlm, read as bundle_files
from fgkit.bundles.profiles import LITERTLM, PROFILES
from fgkit.errors import BundleError, ConfigError
from tests.bundles.test_create import FAKE_TFLITE, tiny_tokenizer

SHAPES = {
    "prefill_16": {},
    "decode": {"inputs": {"mask": [1, 1, 1, 1024]}, "outputs": {"logits": [1, 1, 484]}},
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A whole bundle, as `to_task` makes one."""
    monkeypatch.setattr(bundle_files, "signatures", lambda path: SHAPES)
    (tmp_path / "a.tflite").write_bytes(FAKE_TFLITE)
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    return bundle.create_litertlm(
        tmp_path / "a.tflite",
        tmp_path / "tokenizer.model",
        tmp_path / "out" / "my.litertlm",
        style="template",
        sidecar={"style": "template"},
    )


def test_a_bundle_is_read_back_as_it_was_asked_for(made):
    info = bundle_files.read_bundle(made)
    assert info.profile == LITERTLM and not info.end_tag_cut
    assert info.profile.stop_tokens == prompts.STOP_TOKENS
    assert (info.litertlm.model_type, info.litertlm.context) == ("function_gemma", 1024)
    assert info.litertlm.template == prompts.chat_template() and info.litertlm.template_writes_tools
    assert (
        bundle_files.network_of(info) == FAKE_TFLITE
        and bundle_files.tokenizer_of(info) == tiny_tokenizer()
    )
    assert info.sidecar["style"] == "template" and info.sidecar["context"] == 1024
    assert info.sidecar["tflite_sha256"] == files.sha256(made.parents[1] / "a.tflite")
    assert sorted(path.name for path in made.parent.iterdir()) == [
        "NOTICE-GEMMA.txt",
        "my.litertlm",
        "my.litertlm.json",
    ]


def test_the_runtime_writes_the_tools_only_for_its_own_style(made):
    other = bundle.create_litertlm(
        made.parents[1] / "a.tflite",
        made.parents[1] / "tokenizer.model",
        made.with_name("other.litertlm"),
        style="litert_lm",
        sidecar={},
    )
    assert not bundle_files.read_bundle(other).litertlm.template_writes_tools


def test_equal_bundles_are_equal_bytes_and_others_have_another_identity(made):
    twin = bundle.create_litertlm(
        made.parents[1] / "a.tflite",
        made.parents[1] / "tokenizer.model",
        made.with_name("twin.litertlm"),
        style="template",
        sidecar={},
    )
    assert twin.read_bytes() == made.read_bytes()
    (made.parents[1] / "a.tflite").write_bytes(FAKE_TFLITE + b"x")
    other = bundle.create_litertlm(
        made.parents[1] / "a.tflite",
        made.parents[1] / "tokenizer.model",
        made.with_name("other.litertlm"),
        style="template",
        sidecar={},
    )
    assert other.read_bytes()[:1000] != made.read_bytes()[:1000]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: data[:-1], "incomplete or damaged|lies at bytes"),
        (lambda data: data[:20_000], "lies at bytes"),
        (lambda data: data[:20], "header ends at byte 0"),
        (lambda data: b"", "is no .litertlm"),
        (lambda data: b"PK\3\4" + data[4:], "is no .litertlm"),
        (lambda data: data + b"more", "4 bytes after its last section"),
        (
            lambda data: data[:24] + (1 << 40).to_bytes(8, "little") + data[32:],
            "header ends at byte 1099511627776",
        ),
        (lambda data: data.replace(b"TFL3", b"XXXX"), "its network is no .tflite"),
        (
            lambda data: data[:40] + bytes(400) + data[440:],
            "header cannot be read|holds the sections",
        ),
    ],
)
def test_damage_is_one_message(made, tmp_path, damage, message):
    bad = tmp_path / "bad.litertlm"
    bad.write_bytes(damage(made.read_bytes()))
    with pytest.raises(BundleError, match=f"bad.litertlm: .*({message})"):
        bundle_files.read_bundle(bad)


def test_a_flipped_bit_inside_the_network_is_caught_by_the_hash_beside_it(made):
    data = bytearray(made.read_bytes())
    data[data.index(FAKE_TFLITE) + 5000] ^= 1
    made.write_bytes(data)
    with pytest.raises(
        BundleError, match="describes another file than my.litertlm .*One of the two is damaged"
    ):
        bundle_files.read_bundle(made)


def test_a_tokenizer_that_cannot_be_parsed_is_named(made, tmp_path):
    data = made.read_bytes()
    bad = tmp_path / "bad.litertlm"
    bad.write_bytes(data.replace(tiny_tokenizer(), bytes(len(tiny_tokenizer()))))
    with pytest.raises(BundleError, match="bad.litertlm SP_Tokenizer: is no SentencePiece model"):
        bundle_files.read_bundle(bad)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_changed_headers_are_read_or_refused_and_nothing_else(made, data):
    whole = bytearray(made.read_bytes())
    for at in data.draw(st.lists(st.integers(0, 900), min_size=1, max_size=6)):
        whole[at] = data.draw(st.integers(0, 255))
    bad = made.with_name("bad.litertlm")
    bad.write_bytes(whole)
    try:
        assert litertlm.read(bad).sections.keys() == litertlm.SECTIONS
    except BundleError as error:
        assert "bad.litertlm" in str(error)


def test_what_another_builder_would_have_written_is_refused(made, monkeypatch):
    inputs = (
        made.parents[1] / "a.tflite",
        made.parents[1] / "tokenizer.model",
        made.with_name("b.litertlm"),
    )
    real = litertlm._metadata

    def without_a_stop(*arguments):
        metadata = real(*arguments)
        del metadata.stop_tokens[1]
        return metadata

    def of_another_type(*arguments):
        metadata = real(*arguments)
        metadata.llm_model_type.gemma3.SetInParent()
        return metadata

    for changed, message in (
        (without_a_stop, "stop_tokens is"),
        (of_another_type, "model_type is 'gemma3'"),
    ):
        monkeypatch.setattr(litertlm, "_metadata", changed)
        with pytest.raises(BundleError, match=f"not what was asked for: {message}"):
            bundle.create_litertlm(*inputs, style="template", sidecar={})
    assert not inputs[2].exists()


def test_wrong_names_and_tokenizers_are_refused(made, tmp_path):
    with pytest.raises(ConfigError, match="must end in .litertlm"):
        bundle.create_litertlm(
            tmp_path / "a.tflite",
            tmp_path / "tokenizer.model",
            tmp_path / "x.task",
            style="template",
            sidecar={},
        )
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer(without="<start_function_response>"))
    with pytest.raises(BundleError, match="<start_function_response> is no piece"):
        bundle.create_litertlm(
            tmp_path / "a.tflite",
            tmp_path / "tokenizer.model",
            tmp_path / "x.litertlm",
            style="template",
            sidecar={},
        )
    with pytest.raises(BundleError, match="ends in '.zip', expected .task or .litertlm"):
        bundle_files.read_bundle(shutil.copy(made, tmp_path / "x.zip"))
    assert PROFILES["google"].stop_tokens != LITERTLM.stop_tokens  # here <eos> ends an answer, too


@pytest.mark.skipif(os.name != "posix", reason="processes are forked")
@pytest.mark.parametrize("put_in_order", ["tidy", "the next bundle"])
def test_a_bundler_that_is_killed_anywhere_leaves_nothing_for_good(made, put_in_order):
    inputs, whole = (
        (made.parents[1] / "a.tflite", made.parents[1] / "tokenizer.model"),
        made.read_bytes(),
    )
    complete, left = {"NOTICE-GEMMA.txt", "my.litertlm", "my.litertlm.json"}, set()

    def make() -> None:
        bundle.create_litertlm(*inputs, made, style="template", sidecar={})

    for _ in crash_points(make):
        left |= {path.name for path in made.parent.iterdir()} - complete
        if put_in_order == "tidy":
            atomic_files.tidy(made.parent)
        else:
            make()
        names = {path.name for path in made.parent.iterdir()}
        assert names <= complete if put_in_order == "tidy" else names == complete
        assert made.read_bytes() == whole
    assert any(name.endswith(".part.litertlm") for name in left) and any(
        "metadata" in name for name in left
    )
