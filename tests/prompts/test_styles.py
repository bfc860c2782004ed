"""Prompt styles as a setting: named, mixed row by row, stored, refused where the model has another, scored one by one."""

from __future__ import annotations

from collections import Counter

import pytest

from fgkit import files, prompts
from fgkit.bundles import create as bundle
from fgkit.calls import Call
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset import tokenize
from fgkit.dataset.records import request
from fgkit.errors import ConfigError, DataError, ModelError
from fgkit.evaluation import score_model, tables as score_table
from fgkit.prompts import PromptSetup, styles
from fgkit.workflow import stages, summary
from tests.workflow.test_stages import TOOLS, model, rows, scored  # noqa: F401  (a fixture)

# ---- the setting


def test_split():
    assert styles.split("template") == ("template",)
    assert styles.split(" flutter_gemma ,template") == ("flutter_gemma", "template")
    assert styles.join(styles.split("template, litert_lm")) == "template,litert_lm"


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "flutter",
            "style is 'flutter': 'flutter' is none of template, flutter_gemma, litert_lm; did you mean 'flutter_gemma'?",
        ),
        ("", "style is '': '' is none of template, flutter_gemma, litert_lm."),
        ("template,,litert_lm", "'' is none of"),
        ("template,template", "which names a style twice; name each once"),
    ],
)
def test_a_wrong_style_is_refused(text, expected):
    with pytest.raises(ConfigError) as caught:
        styles.split(text)
    assert expected in str(caught.value)


def test_settings():
    assert FinetuneConfig().style == "template" and TaskConfig().style == TfliteConfig().style == ""
    assert FinetuneConfig(style="template,flutter_gemma").style == "template,flutter_gemma"
    for kind in (FinetuneConfig, TaskConfig, TfliteConfig):
        with pytest.raises(ConfigError, match="'temlpate' is none of .*did you mean 'template'"):
            kind(style="temlpate")
    with pytest.raises(
        ConfigError,
        match="style flutter_gemma always sends the official trigger sentence; leave it empty",
    ):
        FinetuneConfig(style="litert_lm,flutter_gemma", system_message="Be brief.")
    assert FinetuneConfig(style="flutter_gemma", system_message=prompts.DEFAULT_SYSTEM_MSG)


# ---- a style for each row


def test_rows_keep_their_style_whatever_stands_around_them():
    names = ("template", "flutter_gemma", "litert_lm")
    given = [styles.of_row(f"row {number}", names, 42) for number in range(600)]
    counts = Counter(given)
    assert set(counts) == set(names) and min(counts.values()) > 150
    assert [styles.of_row(f"row {number}", names, 42) for number in reversed(range(600))] == given[
        ::-1
    ]
    assert [styles.of_row(f"row {number}", names, 43) for number in range(600)] != given
    assert styles.of_row("half \ud800", ("template",), 0) == "template"


def records(count=40):
    return [
        request(
            number, f"make it red {number}", (Call("change_background_color", {"color": "red"}),)
        )
        for number in range(1, count + 1)
    ]


def test_a_mix_trains_each_row_in_one_style(tokenizer):
    setup = PromptSetup(TOOLS, styles=("template", "flutter_gemma"))
    mixed = tokenize.tokenize_records(records(), setup, tokenizer, max_length=4096, seed=3)
    pure = {
        name: tokenize.tokenize_records(records(), setup.only(name), tokenizer, max_length=4096)
        for name in ("template", "flutter_gemma")
    }
    given = [
        "template" if row == pure["template"][index] else "flutter_gemma"
        for index, row in enumerate(mixed)
    ]
    assert all(mixed[index] == pure[name][index] for index, name in enumerate(given))
    assert pure["template"] != pure["flutter_gemma"] and 8 < given.count("template") < 32
    again = tokenize.tokenize_records(records()[::-1], setup, tokenizer, max_length=4096, seed=3)
    assert again == mixed[::-1]


def test_rows_that_a_style_cannot_say_are_named_with_their_lines(tokenizer):
    wrong = records(25)
    wrong = [
        request(row.line, row.user_content, (Call("change_background_color", {"color": None}),))
        for row in wrong
    ]
    with pytest.raises(DataError) as caught:
        setup = PromptSetup(TOOLS, styles=("template", "litert_lm"))
        tokenize.tokenize_records(wrong, setup, tokenizer, max_length=4096)
    lines = str(caught.value).splitlines()
    assert (
        lines[0] == "prompt style 'litert_lm' cannot say these rows:"
        and lines[-1] == "... and 5 more."
    )
    assert lines[1].startswith(
        "line 1: calls[0]: arguments.color: is None, which LiteRT-LM's parser does not read"
    )
    with pytest.raises(
        DataError, match="'flutter_gemma' cannot say these rows:\nline 1: .*always sends"
    ):
        tokenize.prompt_texts(records(1), PromptSetup(TOOLS, "Be brief."), "flutter_gemma")


# ---- stored, asked for, refused


def test_resolve():
    for stored, asked, expected in (
        (None, None, ("template",)),
        ("", "litert_lm", ("litert_lm",)),
        ("flutter_gemma", None, ("flutter_gemma",)),
        ("template", "template", ("template",)),
        ("template,litert_lm", "", ("template", "litert_lm")),
        ("template,litert_lm", "litert_lm", ("litert_lm",)),
    ):
        assert styles.resolve("m", stored, asked, TOOLS) == expected
    with pytest.raises(
        ModelError, match="m: was trained with prompt style 'gguf', which this fgkit does not know"
    ):
        styles.resolve("m", "gguf", None, TOOLS)
    with pytest.raises(ConfigError, match="'gguf' is none of"):
        styles.resolve("m", "template", "gguf", TOOLS)


def test_a_mismatch_names_both_and_shows_where_they_part():
    with pytest.raises(ModelError) as caught:
        styles.resolve("run/model", "template", "flutter_gemma", TOOLS)
    assert str(caught.value) == (
        "run/model: was trained with prompt style 'template', but 'flutter_gemma' is asked for. They part at character 103, "
        "after 'g with the following functions': template has '<start_function_declaration>de', flutter_gemma has "
        "'\\n<start_function_declaration>d'. Leave the style out, or train with style 'flutter_gemma'."
    )
    union = [
        {
            "function": {
                "name": "f",
                "parameters": {"type": "object", "properties": {"x": {"enum": [1]}}},
            }
        }
    ]
    assert (
        "Style 'flutter_gemma' cannot say it: tools[0] f.parameters.properties.x: has no type"
        in styles.difference("template", "flutter_gemma", union)
    )
    assert (
        styles.difference("template", "litert_lm", [])
        == "Here template and litert_lm give the same text."
    )


def network(folder, style):
    folder = model(folder, style=style, base="offline")
    (folder.parent / "mine_q8_ekv1024.tflite").touch()
    return folder


@pytest.fixture
def bundled(monkeypatch):
    def create_task(network, tokenizer, output, **options):
        files.write_text(output, "bundle")
        files.write_json(f"{output}.json", options["sidecar"] | {"sha256": files.sha256(output)})
        return output

    monkeypatch.setattr(bundle, "create_task", create_task)


def test_to_task_stores_the_style_and_refuses_another(tmp_path, bundled):
    network(tmp_path / "model", "litert_lm,template")
    path = stages.bundle_task(TaskConfig(output=str(tmp_path), name="mine"), rows())
    assert files.read_json(f"{path}.json")["style"] == "litert_lm,template"
    path = stages.bundle_task(
        TaskConfig(output=str(tmp_path), name="mine", style="template"), rows()
    )
    assert files.read_json(f"{path}.json")["style"] == "template"
    with pytest.raises(
        ModelError,
        match="style 'litert_lm,template', but 'flutter_gemma' is asked for. They part at charac",
    ):
        stages.bundle_task(
            TaskConfig(output=str(tmp_path), name="mine", style="flutter_gemma"), rows()
        )


@pytest.mark.parametrize(
    "style, warned",
    [("template", True), ("flutter_gemma", False), ("template,flutter_gemma", False)],
)
def test_the_plugins_profile_warns_of_another_style(tmp_path, bundled, capsys, style, warned):
    network(tmp_path / "model", style)
    stages.bundle_task(
        TaskConfig(output=str(tmp_path), name="mine", profile="flutter_gemma"), rows()
    )
    out = capsys.readouterr().out
    assert ("warning: profile 'flutter_gemma' is for the plugin" in out) is warned
    assert ("trained in style 'template'. They part at character 103" in out) is warned


# ---- scored under each


def test_a_mixed_model_is_scored_under_each_style(tmp_path, scored):  # noqa: F811
    folder = model(tmp_path / "model", style="template,flutter_gemma")
    first = stages.score_tuned(TaskConfig(output=str(tmp_path)), rows())
    assert scored == [(folder, "", "template", "flutter_gemma")] and set(first["per_style"]) == {
        "template",
        "flutter_gemma",
    }
    assert (
        stages.score_tuned(TaskConfig(output=str(tmp_path), style="template"), rows()) == first
        and len(scored) == 1
    )
    other = stages.score_tuned(TaskConfig(output=str(tmp_path), style="flutter_gemma"), rows())
    assert (
        len(scored) == 2
        and other["style"] == "flutter_gemma"
        and summary.read(tmp_path)["tuned"] == other
    )


def test_scores_under_each_style_and_their_table():
    asked = rows(4)
    seen = {}

    def answers(texts, name):
        seen[name] = texts
        right = [prompts.completion(row.calls) for row in asked.held_out]
        return right if name == "litert_lm" else [*right[:1], *["I am sorry"] * 3]

    rendered = asked.rendered(asked.setup()).held_out
    score = score_model._score(rendered, ("template", "litert_lm"), answers)
    assert score["style"] == "template" and score["exact_match"] == 0.25 and len(score["rows"]) == 4
    assert {name: each["exact_match"] for name, each in score["per_style"].items()} == {
        "template": 0.25,
        "litert_lm": 1.0,
    }
    assert (
        "rows" not in score["per_style"]["litert_lm"] and score["per_style"]["template"]["n"] == 4
    )
    assert (
        seen["litert_lm"]
        == tokenize.prompt_texts(asked.held_out, asked.setup(), "litert_lm")
        != seen["template"]
    )
    table = score_table.compare({"tuned": score})
    assert "| style `litert_lm` (4 rows): exact match" in table and table.count("style `") == 4
    assert "per_style" not in score_model._score(rendered, ("litert_lm",), answers)
