"""checks: every check passes on a good folder and fails, with its remedy, on a folder broken in that one way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fgkit import checks, checksums
from fgkit.errors import CheckFailed
from fgkit.models import answer_checks, model_checks, spec
from fgkit.prompts import CONTROL_TOKENS
from tests.bundles.test_create import hidden_from_text, tiny_tokenizer

CALL = "<start_function_call>call:show_alert{message:<escape>sorry<escape>}<end_function_call>"


def statuses(results: list[checks.Check]) -> list[str]:
    assert [result.number for result in results] == list(range(1, len(results) + 1))
    return [result.status for result in results]


@pytest.mark.parametrize(
    "texts, expected",
    [
        ([CALL, CALL], ["pass", "pass", "pass", "pass"]),
        ([CALL + "<pad>"], ["pass", "fail", "pass", "pass"]),
        (["I am sorry, I cannot do that.", CALL, CALL], ["pass", "pass", "pass", "fail"]),
        (["We apologize", "We apologise"], ["fail", "pass", "pass", "fail"]),
        (["变更背景颜色为红色", CALL], ["pass", "pass", "fail", "pass"]),
        (["\ufffd\ufffd\x00a", CALL], ["pass", "pass", "fail", "pass"]),
        (
            ["<start_function_call>call:say{text:<escape>你好世界<escape>}<end_function_call>"],
            ["pass"] * 4,
        ),
        (["Hello there<end_of_turn>", ""], ["fail", "pass", "pass", "pass"]),
        ([CALL] * 19 + ["变更背景颜色为红色"], ["pass"] * 4),
        ([], ["fail"] * 4),
    ],
)
def test_the_guides_four_checks(texts, expected):
    assert statuses(answer_checks.check_answers(texts)) == expected


def test_the_remedies_are_the_guides():
    padded, garbage = (
        answer_checks.check_answers(["<pad>" * 9])[1],
        answer_checks.check_answers(["变更背景"])[2],
    )
    assert "bfloat16" in padded.remedy and "eager" in padded.remedy
    assert "fine-tuning is broken, not the conversion" in garbage.remedy


def write_weights(folder: Path, dtype: str = "BF16") -> None:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "model.embed_tokens.weight": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]},
        }
    ).encode()
    (folder / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"\0" * 4
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model folder in which everything that is looked at is right; the tensors are stand-ins."""
    write_weights(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps(dict(spec.GEMMA_3_270M.shape) | {"vocab_size": 484})
    )
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(
            {
                "added_tokens": [
                    {"id": number, "content": token} for token, number in CONTROL_TOKENS.items()
                ]
            }
        )
    )
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [50, 1, 106]}))
    (tmp_path / "fgkit.json").write_text(json.dumps({"style": "template"}))
    for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_a_good_folder_passes(folder):
    assert statuses(checks.require(model_checks.check_model_folder(folder))) == ["pass"] * 8 + [
        "skipped"
    ]
    checksums.write(folder)
    assert statuses(checks.require(model_checks.check_model_folder(folder))) == ["pass"] * 9
    (folder / "SHA256SUMS").unlink()
    (folder / "fgkit.json").unlink()
    assert statuses(model_checks.check_model_folder(folder)) == ["pass"] * 7 + ["skipped"] * 2


def test_a_flipped_bit_fails_the_check_of_the_sums_alone(folder):
    checksums.write(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    results = model_checks.check_model_folder(folder)
    assert statuses(results) == ["pass"] * 8 + ["fail"]
    with pytest.raises(
        CheckFailed, match=r"9\. checksums: .*model\.safetensors: has other bytes than were written"
    ):
        checks.require(results)


def edit(name: str, **fields):
    def change(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(value | fields))

    return change


@pytest.mark.parametrize(
    "broken, number, message",
    [
        (lambda f: (f / "special_tokens_map.json").unlink(), 1, "missing: special_tokens_map.json"),
        (lambda f: (f / "chat_template.jinja").unlink(), 1, "missing: chat_template.jinja"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-1]
            ),
            2,
            "is incomplete",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64),
            2,
            "no readable safetensors header",
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            2,
            "found pytorch_model.bin",
        ),
        (lambda f: write_weights(f, "F16"), 3, "holds F16, expected BF16"),
        (
            edit("config.json", model_type="llama"),
            4,
            "model_type is 'llama', expected 'gemma3_text'",
        ),
        (edit("config.json", num_hidden_layers=26), 4, "num_hidden_layers is 26, expected 18"),
        (edit("config.json", tie_word_embeddings=False), 4, "no separate output head"),
        (
            edit("config.json", vocab_size=262_145),
            4,
            "vocab_size is 262145, expected 262144 or, after a cut, fewer",
        ),
        (edit("config.json", vocab_size=True), 4, "vocab_size is True"),
        (
            edit("config.json", vocab_size=262_144),
            5,
            "has 484 pieces, but config.json says vocab_size 262144",
        ),
        (lambda f: (f / "config.json").write_text("[1"), 4, "is not JSON"),
        (
            lambda f: (f / "tokenizer.model").write_bytes(
                b"version https://git-lfs.github.com/spec/v1"
            ),
            5,
            "cannot be read",
        ),
        (lambda f: (f / "tokenizer.model").write_bytes(b""), 5, "tokenizer.model"),
        (
            lambda f: (f / "tokenizer.model").write_bytes(tiny_tokenizer(without="<escape>")),
            5,
            "id 52 is '<unused52>'",
        ),
        (
            lambda f: (f / "tokenizer.model").write_bytes(hidden_from_text("<escape>")),
            5,
            "<escape> is split into",
        ),
        (
            edit("tokenizer.json", added_tokens=[{"id": 46, "content": "<escape>"}]),
            6,
            "<escape> has id 46, expected 52",
        ),
        (lambda f: (f / "tokenizer.json").write_text("{}"), 6, "cannot be read"),
        (edit("generation_config.json", eos_token_id=[1, 106]), 7, r"eos_token_id is \[1, 106\]"),
        (edit("generation_config.json", eos_token_id=1), 7, "eos_token_id is 1"),
        (lambda f: (f / "fgkit.json").write_text("{}"), 8, "names no prompt style"),
    ],
)
def test_each_way_to_break_a_folder_fails_its_own_check(folder, broken, number, message):
    broken(folder)
    results = model_checks.check_model_folder(folder)
    assert results[number - 1].status == "fail" and results[number - 1].remedy
    with pytest.raises(CheckFailed, match=message):
        checks.require(results)


def test_an_empty_or_absent_folder_fails_without_a_traceback(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        results = model_checks.check_model_folder(path)
        assert statuses(results)[:2] == ["fail", "fail"] and "skipped" in statuses(results)


def test_require_and_table():
    good, bad = (
        checks.Check(1, "one", "pass", "fine."),
        checks.Check(2, "second", "fail", "broken.", "Mend it."),
    )
    assert checks.require([good]) == [good]
    with pytest.raises(CheckFailed, match="(?s)1 of 2 checks failed.*2. second: broken. Mend it."):
        checks.require([good, bad])
    with pytest.raises(CheckFailed, match="no check was run"):
        checks.require([])
    lines = checks.table([good, bad]).splitlines()
    assert (
        len(lines) == 3
        and "pass" in lines[0]
        and "fail" in lines[1]
        and lines[2].strip() == "-> Mend it."
    )
    first, *others = checks.table(
        [checks.Check(7, "a name", "pass", "<start_function_response> " * 12)]
    ).splitlines()
    assert (
        others
        and len(first) <= 110
        and all(line.startswith(" " * first.index("<start")) for line in others)
    )


def test_these_modules_import_nothing_heavy():
    code = (
        "import sys; import fgkit.models.model_checks, fgkit.workflow.doctor, fgkit.export.conversion, fgkit.bundles.create, fgkit.runtime.session\n"
        "heavy = {'torch', 'transformers', 'mediapipe', 'litert_torch', 'ai_edge_litert', 'litert_lm', 'numpy'}\n"
        "sys.exit(sorted(heavy & set(sys.modules)) or None)"
    )
    root = str(Path(model_checks.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
