"""cut_base: a real tiny model is cut; tokenizers, rows of the table, settings and answers are held against the whole one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny
from hypothesis import given, settings, strategies as st

from fgkit import files, locations, prompts
from fgkit.calls import Call
from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset import tokenize
from fgkit.dataset.reading import read_records
from fgkit.dataset.records import request
from fgkit.dataset.rows import RunData
from fgkit.errors import ConfigError, FgkitError, ModelError
from fgkit.models import (
    base as base_model,
    model_checks,
    network_shape,
    offline_base,
    offline_steps,
    weights,
)
from fgkit.models.spec import base_named
from fgkit.models.vocabulary import cut_base, pieces as vocabulary, record as vocabulary_record
from fgkit.prompts import PromptSetup
from fgkit.tools import load_tools
from fgkit.workflow import stages
from tests.models.test_offline_base import CORE, PIECES, Pair
from tests.models.test_pieces import FRAGMENTS, GERMAN, ROWS, SIZE, layout

TOOLS = load_tools(locations.shipped("data", "tools.py"))
SPECIAL = {0, 1, 2, 3, 50, 105, 106}
TEXTS = (
    st.lists(st.text() | st.sampled_from([*PIECES, *FRAGMENTS, " " * 40]))
    .map("".join)
    .filter(lambda text: not any(token in text for token in CORE))
)


def record(line: int, text: str):
    return request(line, text, (Call("change_app_title", {"title": text}),))


def run_rows(*trained: str) -> RunData:
    return RunData(
        TOOLS,
        tuple(record(line, text) for line, text in enumerate(trained, 1)),
        (record(1, GERMAN[0]),),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A whole tiny Gemma 3 with real merges, laid out and with the image tokens behind the table as FunctionGemma has them."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    folder = tmp_path_factory.mktemp("base")
    pieces, scores, types = layout()
    torch.manual_seed(3)
    model = Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(pieces),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=16,
            bos_token_id=2,
            eos_token_id=[1, 50],
            pad_token_id=0,
        )
    ).to(torch.bfloat16)
    model.generation_config.update(
        bos_token_id=2, eos_token_id=list(prompts.STOP_IDS), pad_token_id=0
    )
    model.save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(
        offline_steps.sentencepiece_model(pieces, scores, types)
    )
    ids = {piece: index for index, piece in enumerate(pieces)}
    merges = [["\u2581", "\u2581"], ["\u2581\u2581", "\u2581"], ["\u2581", "\u2581\u2581"]]
    merges += [
        [piece[:at], piece[at:]]
        for piece, kind in zip(pieces, types, strict=True)
        if kind == 1
        for at in range(1, len(piece))
        if piece[:at] in ids and piece[at:] in ids
    ]
    added = [
        index
        for index, kind in enumerate(types)
        if kind in (3, 4) and "\u2581" not in pieces[index]
    ]
    write = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    files.write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "pre_tokenizer": None,
            "post_processor": None,
            "added_tokens": [
                {"id": index, "content": pieces[index], **write, "special": index in SPECIAL}
                for index in added
            ]
            + [{"id": len(pieces), "content": "<image_soft_token>", **write, "special": True}],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "ignore_merges": False,
                "vocab": ids,
                "merges": merges,
            },
        },
    )
    offline_steps.write_tokenizer_config(folder)
    config = files.read_json(folder / "tokenizer_config.json")
    files.write_json(
        folder / "tokenizer_config.json",
        config
        | {
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "extra_special_tokens": {
                "image_token": "<image_soft_token>",
                "boi_token": "<start_of_image>",
            },
            "added_tokens_decoder": {
                str(index): {"content": pieces[index], **write, "special": index in SPECIAL}
                for index in added
            },
        },
    )
    files.write_json(
        folder / "added_tokens.json", {"\t": ids["\t"], "<image_soft_token>": len(pieces)}
    )
    (folder / "chat_template.jinja").write_text(prompts.chat_template(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cut(base, tmp_path_factory) -> Path:
    return cut_base.cut(base, tmp_path_factory.mktemp("run") / "cut", SIZE, ROWS, base="offline")


@pytest.fixture(scope="module")
def pairs(base, cut) -> tuple[Pair, Pair]:
    return Pair(base), Pair(cut)


def old_ids(folder: Path) -> list[int]:
    return files.read_json(folder / "vocabulary.json")["ids"]


# ---- tokenizers


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_both_tokenizers_agree_on_every_text_and_give_it_back(pairs, text) -> None:
    assert bool(pairs[1].agree(text)) == bool(text)


def test_runs_of_spaces_are_alike_where_those_of_the_whole_pair_are_not(pairs) -> None:
    for count in (*range(2, 40), 100):
        assert (
            pairs[1].agree(" " * count + "x")[:2] != []
            and pairs[1].agree(" " * (count + 1))[0] == 110
        )
    assert pairs[0].json.encode(" " * 5).ids != pairs[0].model.Encode(" " * 5)


def test_texts_of_kept_pieces_are_encoded_as_by_the_whole_pair(pairs, cut) -> None:
    ids = old_ids(cut)
    texts = [part for row in ROWS for part in row.replace("<bos>", "").split("|")]
    assert len(texts) == 2
    for text in texts:
        assert [ids[index] for index in pairs[1].agree(text)] == pairs[0].agree(text)


def test_control_tokens_keep_their_ids_in_every_file(pairs, cut) -> None:
    for token, index in prompts.CONTROL_TOKENS.items():
        assert pairs[1].json.token_to_id(token) == pairs[1].model.PieceToId(token) == index
        assert token in CORE or pairs[1].agree(f"a{token}b")[1] == index
    assert files.read_json(cut / "generation_config.json")["eos_token_id"] == list(prompts.STOP_IDS)
    found = {check.name: check for check in model_checks.check_model_folder(cut)}
    assert {
        name: check.status for name, check in found.items() if name not in ("shape", "fgkit.json")
    } == dict.fromkeys(
        (
            "files",
            "weights",
            "data type",
            "tokenizer.model",
            "tokenizer.json",
            "stop ids",
            "checksums",
        ),
        "pass",
    )
    skipped = [
        entry["content"]
        for entry in files.read_json(cut / "tokenizer.json")["added_tokens"]
        if entry["special"]
    ]
    assert skipped == [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<start_function_response>",
        "<start_of_turn>",
        "<end_of_turn>",
    ]


def test_no_token_is_added_behind_the_last_row(cut) -> None:
    tokenizer = base_model.load_tokenizer(cut)
    assert len(tokenizer) == SIZE == files.read_json(cut / "config.json")["vocab_size"]
    text = "".join(path.read_text(encoding="utf-8") for path in cut.glob("*token*.json"))
    assert (
        "<image_soft_token>" not in text
        and "<unused7000>" not in text
        and "<start_of_image>" in text
    )
    added = {
        entry["content"]: entry["id"]
        for entry in files.read_json(cut / "tokenizer.json")["added_tokens"]
    }
    assert (
        added["\t"] == tokenizer.convert_tokens_to_ids("\t") and added["\u2581\u2581\u2581"] == 110
    )
    assert files.read_json(cut / "added_tokens.json") == added
    listed = files.read_json(cut / "tokenizer_config.json")["added_tokens_decoder"]
    assert {entry["content"]: int(index) for index, entry in listed.items()} == added
    text = "   \n\n" + " " * 5 + "<image_soft_token>"
    assert tokenizer(text, add_special_tokens=False).input_ids == Pair(cut).agree(text)


def test_merges_without_a_part_are_gone_and_the_others_stay_in_order(base, cut) -> None:
    before, after = (files.read_json(folder / "tokenizer.json")["model"] for folder in (base, cut))
    kept = [merge for merge in before["merges"] if {*merge, "".join(merge)} <= set(after["vocab"])]
    assert after["merges"] == kept and 50 < len(kept) < len(before["merges"])
    assert list(after["vocab"].values()) == sorted(after["vocab"].values())


# ---- the network


def test_the_table_has_the_rows_of_the_kept_pieces_in_their_order(base, cut) -> None:
    import torch
    from safetensors.torch import load_file

    before, after = (load_file(folder / "model.safetensors") for folder in (base, cut))
    name = next(name for name in before if name.endswith("embed_tokens.weight"))
    ids, pieces = old_ids(cut), layout()[0]
    table = files.read_json(cut / "tokenizer.json")["model"]["vocab"]
    assert (
        [pieces[old] for old in ids] == list(table)
        and ids[:368] == list(range(368))
        and ids[368:] != list(range(368, SIZE))
    )
    assert torch.equal(after.pop(name), before.pop(name)[ids])
    assert before.keys() == after.keys() and all(
        torch.equal(before[key], after[key]) for key in before
    )


def test_the_cut_model_scores_the_kept_pieces_as_the_whole_one(base, cut) -> None:
    import torch

    ids = old_ids(cut)
    (whole, tokenizer), (small, small_tokenizer) = base_model.load(base), base_model.load(cut)
    with torch.no_grad():
        before, after = (
            model.float()(torch.tensor([tokenize.encode(own, ROWS[0])])).logits[0, -1]
            for model, own in ((whole, tokenizer), (small, small_tokenizer))
        )
    assert torch.allclose(after, before[ids], atol=1e-5) and after.shape == (SIZE,)


@pytest.mark.slow
def test_the_real_base_is_cut(tmp_path) -> None:
    whole = offline_base.build(locations.cache_dir("offline-base"))
    trained, held_out = (
        tuple(read_records(locations.shipped("data", name), TOOLS))
        for name in ("training_data.jsonl", "eval_data.jsonl")
    )
    start = stages.cut_vocabulary(
        settings_of(tmp_path, 32_768), found_base(whole), RunData(TOOLS, trained, held_out)
    )
    pair, before, ids = Pair(start.folder), Pair(whole), old_ids(start.folder)
    assert (
        ids[:494] == list(range(494))
        and len(ids) == 32_768
        and network_shape.shape_problems(start.folder) == []
    )
    for text in {
        part
        for row in tokenize.prompt_texts(trained, PromptSetup(TOOLS))
        for part in vocabulary.segments([row])
    }:
        assert [ids[index] for index in pair.agree(text)] == before.agree(text)

    @settings(max_examples=300, deadline=None, database=None)
    @given(text=TEXTS)
    def agree(text: str) -> None:
        ours, theirs = pair.agree(text), before.model.Encode(text)
        assert not set(theirs) <= set(ids) or [ids[index] for index in ours] == theirs

    agree()


# ---- in a run


def settings_of(tmp_path, size: int, **more) -> FinetuneConfig:
    return FinetuneConfig(output=str(tmp_path / "run"), vocab_size=size, **more)


def found_base(folder: Path) -> base_model.Base:
    return base_model.Base("offline", folder, base_named("offline"), "")


def needed(tmp_path, base, rows, **more) -> int:
    """The smallest size that the rows allow, as the refusal says it."""
    with pytest.raises(ConfigError) as caught:
        stages.cut_vocabulary(settings_of(tmp_path, 380, **more), found_base(base), rows)
    return int(str(caught.value).split("structure need ")[1].split()[0])


def test_zero_leaves_the_base_as_it_is(tmp_path, base) -> None:
    whole = found_base(base)
    assert stages.cut_vocabulary(settings_of(tmp_path, 0), whole, run_rows("hi")) is whole
    assert (
        not (tmp_path / "run").exists()
        and vocabulary_record.vocabulary_size(base) is None
        and vocabulary_record.modification(base) == ""
    )


def test_a_run_cuts_once_and_again_when_something_changes(
    tmp_path, base, capsys, monkeypatch
) -> None:
    before = {path.name: files.sha256(path) for path in base.iterdir()}
    rows, size = run_rows("make the background red please"), 740
    start = stages.cut_vocabulary(settings_of(tmp_path, size), found_base(base), rows)
    assert start == base_model.Base(
        "offline", tmp_path / "run" / f"base-{size}", base_named("offline"), ""
    )
    assert f"Vocabulary: {size} of {len(layout()[0])} pieces" in capsys.readouterr().out
    assert vocabulary_record.vocabulary_size(start.folder) == {
        "pieces": size,
        "of": len(layout()[0]),
    }
    assert (
        vocabulary_record.modification(start.folder)
        == f"vocabulary cut to {size} of {len(layout()[0])} pieces; "
    )
    tiny.known(monkeypatch)
    assert (
        base_model.find_base(str(start.folder)).origin.name == "offline"
        and (start.folder / "NOTICE-GEMMA.txt").is_file()
    )
    cuts, real = [], cut_base.cut
    monkeypatch.setattr(
        cut_base, "cut", lambda *args, **more: cuts.append(1) or real(*args, **more)
    )
    again = stages.cut_vocabulary(settings_of(tmp_path, size), found_base(base), rows)
    assert again == start and cuts == []
    stages.cut_vocabulary(
        settings_of(tmp_path, size), found_base(base), run_rows("make the app red please")
    )
    assert cuts == [1]
    file = start.folder / "model.safetensors"
    file.unlink()
    stages.cut_vocabulary(
        settings_of(tmp_path, size), found_base(base), run_rows("make the app red please")
    )
    assert cuts == [1, 1] and weights.weight_problems(start.folder) == []
    assert {path.name: files.sha256(path) for path in base.iterdir()} == before


def test_a_cut_base_that_was_changed_is_named_and_never_replaced(tmp_path, base) -> None:
    settings, rows = settings_of(tmp_path, 740), run_rows("make the background red please")
    folder = stages.cut_vocabulary(settings, found_base(base), rows).folder
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(FgkitError, match="model.safetensors: was changed since fgkit wrote it"):
        stages.cut_vocabulary(settings, found_base(base), rows)
    assert file.read_bytes() == whole[:-1]
    file.rename(tmp_path / "moved away")
    stages.cut_vocabulary(settings, found_base(base), rows)
    assert file.read_bytes() == whole


def test_held_out_rows_are_not_looked_at(tmp_path, base) -> None:
    rows = run_rows("make the background red please")
    other = RunData(TOOLS, rows.train, (record(1, "покажи сообщение"),))
    assert (
        needed(tmp_path, base, rows)
        == needed(tmp_path, base, other)
        < needed(tmp_path, base, run_rows("make the background red please", "покажи сообщение"))
    )


def test_every_style_of_the_run_keeps_its_pieces(tmp_path, base, monkeypatch) -> None:
    rows, styles = run_rows("make the background red please"), "template,litert_lm"
    size = needed(tmp_path, base, rows, style=styles)
    kept, real = [], cut_base.cut
    monkeypatch.setattr(
        cut_base,
        "cut",
        lambda folder, target, size, texts, **more: (
            kept.extend(texts) or real(folder, target, size, texts, **more)
        ),
    )
    start = stages.cut_vocabulary(settings_of(tmp_path, size, style=styles), found_base(base), rows)
    ids, whole, own = (
        old_ids(start.folder),
        base_model.load_tokenizer(base),
        base_model.load_tokenizer(start.folder),
    )
    for style in ("template", "litert_lm"):
        (text,), (answer,) = (
            tokenize.prompt_texts(rows.train, PromptSetup(TOOLS), style),
            tokenize.answer_texts(rows.train, style),
        )
        parts = vocabulary.segments([text, answer])
        assert set(parts) <= set(kept) and len(parts) > 20
        assert [ids[index] for index in tokenize.encode(own, text + answer)] == tokenize.encode(
            whole, text + answer
        )
    assert len(set(kept)) == len(kept) > len(parts)


def test_a_cut_base_can_be_cut_again_and_its_record_goes_on_telling_of_the_whole_one(
    base, cut, tmp_path
) -> None:
    smaller = cut_base.cut(cut, tmp_path / "smaller", SIZE - 20, ROWS[:1])
    assert vocabulary_record.vocabulary_size(smaller) == {
        "pieces": SIZE - 20,
        "of": len(layout()[0]),
    }
    table = files.read_json(smaller / "tokenizer.json")["model"]["vocab"]
    assert [layout()[0][old] for old in old_ids(smaller)] == list(table)
    vocabulary_record.copy_vocabulary_record(smaller, tmp_path)
    assert (tmp_path / "vocabulary.json").read_bytes() == (smaller / "vocabulary.json").read_bytes()
    vocabulary_record.copy_vocabulary_record(base, tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


# ---- refusals


def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "copy"))


def test_tokenizers_that_would_not_agree_are_refused_and_nothing_is_left(base, tmp_path) -> None:
    folder = copy(base, tmp_path)
    data = files.read_json(folder / "tokenizer.json")
    data["model"]["merges"].reverse()
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(
        ModelError, match="cannot be cut: .*tokenizer.model differ.*Set vocab_size to 0"
    ):
        cut_base.cut(folder, tmp_path / "cut", SIZE, ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_a_table_with_fewer_rows_than_pieces_is_refused(base, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy(base, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    save_file(tensors | {name: tensors[name][:-1].clone()}, folder / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"embed_tokens.weight has \d+ rows, but tokenizer.model \d+ pieces"
    ):
        cut_base.cut(folder, tmp_path / "cut", SIZE, ROWS)
    assert not (tmp_path / "cut").exists()


def test_the_base_itself_is_never_written(base) -> None:
    with pytest.raises(ConfigError, match="is the base itself"):
        cut_base.cut(base, base, SIZE, ROWS)


def test_a_folder_of_another_kind_is_refused(base, tmp_path) -> None:
    folder = copy(base, tmp_path)
    (folder / "config.json").write_text('{"model_type": "gemma3", "text_config": {}}')
    with pytest.raises(ModelError, match="holds no vocab_size"):
        cut_base.cut(folder, tmp_path / "cut", SIZE, ROWS)
