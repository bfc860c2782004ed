"""sending: what each way sends, which rows can be sent alone, and a baked bundle in the real LiteRT-LM."""

from __future__ import annotations

import pytest

from fgkit import prompts
from fgkit.bundles import create as bundle, profiles, read as bundle_files
from fgkit.calls import Call
from fgkit.dataset.records import Record, request
from fgkit.errors import ConfigError
from fgkit.evaluation import prompting_modes
from fgkit.prompts import completion
from fgkit.runtime import session as runtime
from tests.bundles.test_create import tiny_tokenizer
from tests.export.test_conversion import tiny_tflite

RED = Call("set_color", {"color": "red"})
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_color",
            "description": "d",
            "parameters": {
                "type": "object",
                "properties": {"color": {"type": "string", "description": "c"}},
            },
        },
    }
]


def trained(text: str, tools=TOOLS, message: str = "Act.") -> str:
    return prompts.render(prompts.conversation(text, message), tools, add_generation_prompt=True)


class Noting:
    """A runtime that answers rightly only where the question stands behind the declarations."""

    end_tag_cut = True

    def __init__(self):
        self.raw, self.wrapped = [], []

    def generate(self, text, *, max_new_tokens):
        self.raw.append(text)
        return completion([RED]).removesuffix("<end_function_call><start_function_response>")

    def generate_with_template(self, text, *, max_new_tokens):
        self.wrapped.append(text)
        return "Sorry" if "declaration" not in text else self.generate(text, max_new_tokens=1)


def test_each_way_sends_what_it_says_and_is_scored():
    rows = [request(place, f" make it red {place}", (RED,)) for place in range(30)]
    noting = Noting()
    found = prompting_modes.probe_modes(
        noting, rows, [trained(row.user_content) for row in rows], max_new_tokens=9, progress=False
    )
    assert list(found) == list(prompting_modes.MODES) and {one["n"] for one in found.values()} == {
        prompting_modes.PROBED_ROWS
    }
    assert [found[way]["exact_match"] for way in prompting_modes.MODES] == [1.0, 1.0, 1.0, 0.0]
    whole, developer = (
        trained("make it red 0").removeprefix("<bos>"),
        prompting_modes.developer_turn(trained("make it red 0")),
    )
    assert developer.startswith("<start_of_turn>developer\n") and developer.endswith(
        "<end_of_turn>\n"
    )
    assert (
        whole
        == f"{developer}<start_of_turn>user\nmake it red 0<end_of_turn>\n<start_of_turn>model\n"
    )
    n = prompting_modes.PROBED_ROWS
    assert (noting.raw[0], noting.wrapped[0], noting.wrapped[n], noting.wrapped[2 * n]) == (
        whole,
        whole,
        developer + "make it red 0",
        "make it red 0",
    )
    assert (
        prompting_modes.lines(found)[3]
        == "sent as question alone, wrapped: 0% right tools, 0% exact, of 24 rows"
    )


def test_rows_of_several_turns_are_not_sent_alone():
    turns = (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    )
    row = Record(1, turns, (RED,))
    assert not prompting_modes.is_single(row) and prompting_modes.is_single(request(1, "a"))
    assert (
        prompting_modes.probe_modes(Noting(), [row], ["x"], max_new_tokens=1, progress=False) == {}
    )


def test_a_baked_bundle_puts_the_trained_prompt_before_the_model(tmp_path, monkeypatch):
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    developer = prompting_modes.developer_turn(trained("x", []))
    inputs = tiny_tflite(), tmp_path / "tokenizer.model", tmp_path / "baked.task"
    baked = bundle.create_task(*inputs, profile="baked", developer_turn=developer, sidecar={})
    assert bundle_files.read_bundle(baked).profile == profiles.profile("baked", developer)
    with runtime.Runtime(baked) as opened:
        assert opened.profile == "baked"
        row, whole = request(1, "red"), trained("red", [])
        alone = prompting_modes.answer(
            opened, prompting_modes.QUESTION, row, whole, max_new_tokens=6
        )
        assert alone == opened.generate(whole, max_new_tokens=6) and alone
        assert alone != opened.generate("red", max_new_tokens=6)
    for profile, turn in (("baked", ""), ("guide", developer)):
        with pytest.raises(ConfigError, match=f"profile is '{profile}', but"):
            bundle.create_task(*inputs, profile=profile, developer_turn=turn, sidecar={})
