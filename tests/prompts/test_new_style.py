"""A new prompt style is one entry in `prompts.STYLES`: everything else knows it from there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from fgkit import prompts
from fgkit.bundles.profiles import PROFILES
from fgkit.calls import Call
from fgkit.cli.main import main
from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset import tokenize
from fgkit.dataset.records import request
from fgkit.dataset.rows import RunData
from fgkit.errors import ConfigError, DataError, FgkitError, ModelError, PromptError
from fgkit.prompts import PromptSetup, PromptStyle, styles, template
from tests.workflow.test_stages import TOOLS

ROOT = Path(__file__).parents[2]


def no_blue(messages):
    return ["messages: say blue"] if "blue" in str(messages) else []


@pytest.fixture
def shouting(monkeypatch) -> PromptStyle:
    """A made-up style: the model's template in capitals."""
    style = PromptStyle(
        "shouting",
        "everything in capitals",
        lambda messages, tools, opened: template.layout(messages, tools, opened).upper(),
        lambda tools: [],
        no_blue,
        runtime="the megaphone",
        profile="loud",
        fixed_system_message="LISTEN",
    )
    monkeypatch.setitem(prompts.STYLES, "shouting", style)
    return style


def test_prompts_know_it(shouting):
    messages = prompts.conversation("make it red")
    text = prompts.render(messages, TOOLS, add_generation_prompt=True, style="shouting")
    assert text == prompts.render(messages, TOOLS, add_generation_prompt=True).upper()
    calls = [Call("ping", {})]
    assert prompts.completion(calls, style="shouting") == prompts.completion(calls)
    assert prompts.answer([], "Hello.", style="shouting") == "Hello.<end_of_turn>"
    with pytest.raises(PromptError, match="messages: say blue"):
        prompts.render(prompts.conversation("make it blue"), TOOLS, style="shouting")


def test_the_dataset_knows_it(shouting, tokenizer):
    rows = [request(1, "make it red", (Call("ping", {}),))]
    setup = PromptSetup(TOOLS, styles=("shouting",))
    (example,) = tokenize.tokenize_records(rows, setup, tokenizer, max_length=4096)
    prompt = tokenizer.decode(example.tokens[: example.prompt_length])
    assert "MAKE IT RED" in prompt and tokenize.check_template(tokenizer, rows, setup) == 0
    with pytest.raises(DataError, match="prompt style 'shouting' cannot say these rows:\nline 1"):
        tokenize.prompt_texts([request(1, "blue")], setup)
    mixed = PromptSetup(TOOLS, styles=("template", "shouting"))
    rows = [request(line, f"make it red {line}", (Call("ping", {}),)) for line in range(1, 30)]
    examples = tokenize.tokenize_records(rows, mixed, tokenizer, max_length=4096)
    loud = ["MAKE IT" in tokenizer.decode(example.tokens) for example in examples]
    assert 0 < sum(loud) < len(loud)


def test_settings_and_refusals_know_it(shouting):
    assert FinetuneConfig(style="shouting,template").style == "shouting,template"
    with pytest.raises(ConfigError, match="style shouting always sends the official trigger"):
        FinetuneConfig(style="shouting", system_message="Be quiet.")
    with pytest.raises(ConfigError, match="none of template, .*shouting; did you mean 'shouting'"):
        FinetuneConfig(style="shoutin")
    with pytest.raises(PromptError, match="expected one of template, .*, shouting"):
        prompts.render(prompts.conversation("hi"), [], style="shout")
    with pytest.raises(ModelError, match="'shouting' is asked for. They part at character 1"):
        styles.resolve("model", "template", "shouting", TOOLS)
    assert styles.resolve("model", "shouting", None, TOOLS) == ("shouting",)
    assert styles.of_profile("loud") is shouting and "shouting" not in styles.with_conversation()


def test_the_code_for_apps_and_the_command_know_it(shouting, capsys):
    from fgkit.app.codegen import notes
    from fgkit.app.model_source import Source

    first, *_ = notes(Source("x", PromptSetup(TOOLS, styles=("litert_lm",)), ()))[1:]
    assert first.startswith("the megaphone writes prompts of style shouting, but the model was tr")
    assert main(["prompt", "make it red", "--style", "shouting"]) == 0
    assert "MAKE IT RED" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["prompt", "--help"])
    assert "shouting: everything in capitals" in " ".join(capsys.readouterr().out.split())


def test_the_help_of_the_settings_knows_it():
    """The help of a setting is made on import, so a fresh process adds the style first."""
    code = """
import json
from fgkit import prompts
from fgkit.prompts import PromptStyle, template
prompts.STYLES["shouting"] = PromptStyle("shouting", "loud", template.layout, lambda tools: [])
from dataclasses import fields
from fgkit.config import FinetuneConfig
print(json.dumps([str(field.metadata) for field in fields(FinetuneConfig) if field.name == "style"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (text,) = json.loads(done.stdout)
    assert "template, flutter_gemma, litert_lm, shouting" in text


def test_every_style_is_described_and_its_attributes_fit():
    page = " ".join((ROOT / "docs" / "prompts.md").read_text(encoding="utf-8").split())
    for name, style in prompts.STYLES.items():
        assert name == style.name and style.summary in styles.help_text()
        start = style.summary[0].upper() + style.summary[1:]
        assert f"## Style `{name}` {start}" in page
        assert style.profile in ("", *PROFILES)
    assert sum(style.is_model_template for style in prompts.STYLES.values()) == 1
    assert styles.of_app("dart").name == "flutter_gemma"
    assert styles.of_app("kotlin").name == "litert_lm"
    assert styles.with_conversation() == ("template", "litert_lm")
    assert [name for name, style in prompts.STYLES.items() if not style.template_writes_tools] == [
        "litert_lm"
    ]


# ---- the setup, and rows that are rendered once


def test_a_setup():
    setup = PromptSetup(TOOLS, "Act.", ("litert_lm", "template"))
    assert setup.style == "litert_lm" and setup.only().styles == ("litert_lm",)
    assert setup.only("template") == PromptSetup(TOOLS, "Act.")
    assert PromptSetup(TOOLS).developer_text == prompts.DEFAULT_SYSTEM_MSG
    assert PromptSetup(TOOLS).same_texts(PromptSetup(TOOLS, prompts.DEFAULT_SYSTEM_MSG))
    assert not PromptSetup(TOOLS).same_texts(setup.only("template"))
    with pytest.raises(PromptError, match="style: is 'gguf', expected one of template"):
        PromptSetup(TOOLS, styles=("gguf",))
    assert {field.name for field in fields(setup)} == {"tools", "system_message", "styles"}


def test_rows_are_rendered_once_for_each_setup(monkeypatch, tokenizer):
    calls = tuple(request(line, f"red {line}", (Call("ping", {}),)) for line in range(1, 4))
    rows = RunData(TOOLS, calls[:2], calls[2:])
    written = []
    layout = template.layout
    monkeypatch.setitem(
        prompts.STYLES,
        "template",
        replace(
            prompts.STYLES["template"],
            layout=lambda *given: written.append(1) or layout(*given),
        ),
    )
    setup = rows.setup()
    rendered = rows.rendered(setup)
    texts = rendered.train.prompts()
    assert texts == tokenize.prompt_texts(rows.train, setup) and len(written) == 4
    for _ in range(3):
        again = rows.rendered(rows.setup(prompts.DEFAULT_SYSTEM_MSG))
        assert again is rendered and again.train.prompts() is texts
        examples = again.train.tokenized(tokenizer, max_length=4096)
        assert len(written) == 4
    assert examples == tokenize.tokenize_records(rows.train, setup, tokenizer, max_length=4096)
    assert rows.rendered(rows.setup("Act.")) is not rendered
    both = rows.rendered(rows.setup(styles=("template", "flutter_gemma")))
    assert len(both.held_out.texts()) == 2 and rows == RunData(TOOLS, calls[:2], calls[2:])
    with pytest.raises(FgkitError, match="2 rows are longer than max_length"):
        rendered.train.tokenized(tokenizer, max_length=10)
