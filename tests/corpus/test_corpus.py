"""The corpus: domain files expand to sound rows, nothing kept-out is in it, and the delta gives
what was trained.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import tiny

from corpus import bfcl_rows, build, delta, domains, kept_out, names, wording
from corpus.sets import RequestSet, request
from fgkit.dataset.reading import inspect_records

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "corpus" / "domains"
PACKAGES = Path(
    os.environ.get("FGKIT_BFCL", "packages")
)  # where bfcl-eval was installed with `pip install --target`
BFCL = PACKAGES / "bfcl_eval" / "data"

needs_bfcl = pytest.mark.skipif(
    not BFCL.exists(), reason="bfcl-eval is not in the folder that FGKIT_BFCL names"
)


def tool(name: str, text: str, **properties: dict) -> dict:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": text,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            },
        },
    }


LIBRARY = {
    "domain": "library",
    "tools": [
        tool(
            "renew_loan",
            "Extends the loan of a book",
            title={"type": "string", "description": "As it stands on the book"},
            weeks={"type": "integer", "description": "How long"},
        ),
        tool(
            "pay_fines",
            "Pays what is owed to the library",
            euros={"type": "number", "description": "How much"},
        ),
    ],
    "pools": {
        "title": ["The Sea Wolf", "kindred", "Les Misérables 📚"],
        "n": [["two", 2], ["a dozen", 12]],
        "money": [["2.50", 2.5]],
    },
    "rows": [
        {
            "say": "Extend {title} by {n} weeks, please.",
            "calls": [{"name": "renew_loan", "arguments": {"title": "{title}", "weeks": "{n}"}}],
        },
        {
            "say": "{n} more weeks for {title}",
            "calls": [{"name": "renew_loan", "arguments": {"title": "{title}", "weeks": "{n}"}}],
        },
        {
            "say": "Settle my debts: {money} euros",
            "calls": [{"name": "pay_fines", "arguments": {"euros": "{money}"}}],
        },
        {
            "say": "transfer {money} for the late books",
            "calls": [{"name": "pay_fines", "arguments": {"euros": "{money}"}}],
        },
        {"say": "Extend a book", "calls": [], "answer": "Which one, and by how many weeks?"},
    ],
}


@pytest.fixture(scope="module")
def sets() -> list[RequestSet]:
    return list(domains.expand([LIBRARY], rounds=60, chance=random.Random(1)))


def test_same_seed_same_sets() -> None:
    texts = [
        json.dumps(
            [one.lines() for one in domains.expand([LIBRARY], rounds=3, chance=random.Random(seed))]
        )
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_values_are_those_of_the_pools_with_their_types(sets: list[RequestSet]) -> None:
    seen = set()
    for one in sets:
        for messages in one.requests:
            for call in messages[-1].get("tool_calls", ()):
                for value in call["function"]["arguments"].values():
                    assert value in ("The Sea Wolf", "kindred", "Les Misérables 📚", 2, 12, 2.5)
                    assert not isinstance(value, str) or value in messages[0]["content"]
                    seen.add(value)
    assert len(seen) == 6


def test_only_declared_functions_are_called_and_others_are_refused(sets: list[RequestSet]) -> None:
    refused = parallel = 0
    for one in sets:
        declared = {each["function"]["name"] for each in one.tools}
        for messages in one.requests:
            called = [call["function"]["name"] for call in messages[-1].get("tool_calls", ())]
            assert set(called) <= declared
            refused += not called and messages[0]["content"].lower().startswith(
                ("settle", "transfer")
            )
            parallel += len(called) > 1
    assert refused > 3 and parallel > 3


def test_masked_names_agree_between_tools_and_calls(sets: list[RequestSet]) -> None:
    own = {"renew_loan", "pay_fines"}
    assert sum(not own & {each["function"]["name"] for each in one.tools} for one in sets) > 5
    arguments = {
        key
        for one in sets
        for each in one.tools
        for key in each["function"]["parameters"]["properties"]
    }
    assert len(arguments) > 3  # those of the file, and masks


def test_fgkit_reads_every_row(sets: list[RequestSet], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps(line) + "\n" for one in sets for line in one.lines()), encoding="utf-8"
    )
    found = inspect_records(path, [])
    assert not found.problems and len(found.records) > 100


def test_turns_keep_the_order_of_call_response_and_answer() -> None:
    row = {
        "turns": [
            {"role": "user", "content": "extend {title} by {n} weeks"},
            {
                "role": "assistant",
                "calls": [
                    {"name": "renew_loan", "arguments": {"title": "{title}", "weeks": "{n}"}}
                ],
            },
            {"role": "tool", "name": "renew_loan", "content": {"due": "2026-01-02"}},
        ],
        "answer": "It is due on 2 January.",
    }
    messages = domains.conversation(row, LIBRARY["pools"], random.Random(3))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"]["weeks"] in (2, 12)


def test_wording_never_touches_what_is_copied() -> None:
    chance, texts = random.Random(5), set()
    for _ in range(400):
        said = wording.varied(
            "Please rename the Blue Heron folder to {new} Now.",
            {"new": "ÄÖ Report.PDF"},
            ["Blue Heron", "{new}"],
            chance,
        )
        assert "Blue Heron" in said and "ÄÖ Report.PDF" in said
        texts.add(said)
    assert len(texts) > 20


def test_camel_and_snake() -> None:
    assert names.camel("renew_book.now") == "renewBookNow"
    assert names.snake("renewBook") == "renew_book"


@pytest.mark.parametrize("text", ["Make it RED!", "make it   red", "I need a red background"])
def test_a_kept_out_sentence_is_told(text: str) -> None:
    kept = kept_out.KeptOut(kept_out.kept_texts(ROOT, None) + ["make it red"])
    assert kept.shares([text, "dig acme.io for its MX records"]) == [True, False]


def test_kept_out_rows_are_all_read() -> None:
    texts = kept_out.kept_texts(ROOT, None)
    assert len(texts) > 284 + 156 + 745 + 235 and len(kept_out.kept_tools(ROOT)) == 15


def test_build_drops_kept_out_rows_and_functions(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    bad = {
        **LIBRARY,
        "rows": [
            *LIBRARY["rows"],
            {
                "say": "I need a red background",
                "calls": [{"name": "pay_fines", "arguments": {"euros": 1}}],
            },
        ],
    }
    (tmp_path / "domains" / "library.json").write_text(json.dumps(bad), encoding="utf-8")
    other = {
        **LIBRARY,
        "domain": "other",
        "tools": [
            *LIBRARY["tools"],
            tool("show_alert", "Shows an alert", title={"type": "string"}),
        ],
    }
    (tmp_path / "domains" / "other.json").write_text(json.dumps(other), encoding="utf-8")
    made = build.build(tmp_path / "out", None, tmp_path / "domains", rounds=8)
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").glob("*.jsonl"))
    assert (
        made["domains"] == 1
        and made["rows dropped as kept out"] > 2
        and "red background" not in text
        and "show_alert" not in text
    )
    assert sum(made["styles"].values()) > 10


def test_no_kept_out_sentence_in_the_corpus(tmp_path: Path) -> None:
    """Of everything that is trained on; with the leaderboard where it is installed."""
    bfcl = BFCL if BFCL.exists() else None
    made = build.build(tmp_path, bfcl, FOLDER, rounds=1)
    said = [
        message["content"]
        for path in tmp_path.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
        for message in json.loads(line)["messages"]
        if message["role"] == "user"
    ]
    assert len(said) > 1500 and sum(made["styles"].values()) > 1500
    assert not any(kept_out.KeptOut(kept_out.kept_texts(ROOT, bfcl)).shares(said))


@needs_bfcl
def test_the_live_categories_are_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self, *args, **kwargs: (opened.append(self.name), read(self, *args, **kwargs))[1],
    )
    found = bfcl_rows.bfcl_sets(BFCL, random.Random(1))
    assert len(found) > 500 and len(opened) > 10
    assert not [name for name in opened if "live" in name]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("torch")
    tiny.known(monkeypatch)
    return tiny.model_folder(tmp_path / "base")


def test_delta_gives_the_trained_network(base: Path, tmp_path: Path) -> None:
    import torch
    from separate_rows import ROWS, separate_loss

    from corpus.low_rank import Learner
    from fgkit.models import base as base_model, spec
    from fgkit.models.folder import check_folder
    from fgkit.training.tree_model import tree_training

    model = base_model.load(base)[0].float()
    untouched = separate_loss(model, ROWS)
    with tree_training(model):
        learner = Learner(model, rank=4, rows=108, pieces=range(model.config.vocab_size))
        assert (
            abs(float(learner.loss(ROWS) / untouched) - 1) < 1e-5
        )  # before any step it is the base
        optimizer = torch.optim.AdamW(learner.parameters(), lr=0.02)
        for _ in range(12):
            optimizer.zero_grad()
            loss = learner.loss(ROWS)
            loss.backward()
            optimizer.step()
        trained = float(learner.loss(ROWS).detach())
    assert trained < 0.9 * float(untouched)
    for eight_bits, allowed in ((False, 0.02), (True, 0.05)):
        path, target = tmp_path / "delta.safetensors", tmp_path / f"taught-{eight_bits}"
        delta.save(path, learner.changes, learner.rows, {"base": "tiny"}, eight_bits=eight_bits)
        assert delta.facts_of(path)["base"] == "tiny"
        folder = delta.write_taught_folder(base, path, target)
        check_folder(folder)
        assert base_model.find_base(str(folder)).origin.name == spec.OFFLINE
        got = float(separate_loss(base_model.load(folder)[0].float(), ROWS))
        assert abs(got / trained - 1) < allowed
        assert {each.name for each in folder.iterdir()} == {
            each.name for each in base.iterdir()
        } | {"SHA256SUMS", "fgkit.json"}


def test_delta_for_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = tmp_path / "delta.safetensors"
    weights = load_file(base / "model.safetensors")
    delta.save(
        path,
        {"model.layers.9.mlp.up_proj.weight": (torch.zeros(2, 1), torch.zeros(1, 2))},
        torch.zeros(3, 48),
        {},
    )
    with pytest.raises(ValueError, match="layers.9.*does not have"):
        delta.applied(weights, path)
    delta.save(
        path,
        {"model.layers.0.mlp.up_proj.weight": (torch.zeros(2, 1), torch.zeros(1, 2))},
        torch.zeros(3, 48),
        {},
    )
    with pytest.raises(ValueError, match="shape"):
        delta.applied(weights, path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="format"):
        delta.applied(weights, path)


def test_training_goes_on_where_it_was_stopped(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpus import train

    monkeypatch.setattr(
        "corpus.low_rank.pieces_of.__kwdefaults__",
        {"frequent": 109, "others": 0, "vocabulary": 200, "seed": 0},
        raising=False,
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = [
        line
        for one in domains.expand([LIBRARY], rounds=6, chance=random.Random(1))
        if one.style == "template"
        for line in one.lines()
    ]
    (corpus / "template.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    monkeypatch.setattr(train, "MAX_LENGTH", 10**6)
    logs: dict[str, Any] = {}
    for name, stops in (("whole", [None]), ("cut", [2, None])):
        for stop in stops:
            train.train(
                corpus,
                tmp_path / name,
                base=str(base),
                steps=4,
                finish_at=None,
                top=1e-3,
                rank=2,
                stop_after=stop,
            )
        logs[name] = [
            json.loads(line)
            for line in (tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
    assert [entry["step"] for entry in logs["cut"]] == [1, 2, 3, 4]
    assert [entry["loss"] for entry in logs["cut"]] == pytest.approx(
        [entry["loss"] for entry in logs["whole"]], abs=2e-4
    )
    assert (tmp_path / "cut" / "delta.safetensors").exists()


def test_the_shipped_delta_is_the_one_on_its_card() -> None:
    path = ROOT / "corpus" / "taught" / "delta.safetensors"
    card, facts = (path.parent / "CARD.md").read_text(encoding="utf-8"), delta.facts_of(path)
    assert path.stat().st_size <= 16_000_000
    assert delta.digest(path) in card and facts["base_sha256"] in card
    assert facts["format"] == delta.FORMAT and f"{int(facts['tokens']):,}" in card


def test_request_is_plain_messages() -> None:
    assert request("hi", answer="Hello") == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello"},
    ]
