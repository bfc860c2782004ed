"""A model's own chat template is a program of somebody else: bounded in time and memory, kept from Python, one message."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fgkit import prompts
from fgkit.dataset import model_template, tokenize
from fgkit.dataset.model_template import Difference, Expected, first_difference
from fgkit.dataset.records import request
from fgkit.errors import ModelError
from fgkit.prompts import PromptSetup

MESSAGES = prompts.conversation("make it red")
TOOLS = [{"type": "function", "function": {"name": "go", "description": "Goes."}}]
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HOSTILE = {
    "loops": (LOOP, "was not finished after 1 seconds of computing"),
    "computes": ("{{ 10 ** (10 ** 9) }}", "was not finished after 1 seconds of computing"),
    "one huge text": ("{{ 'a' * 10 ** 11 }}", "needs more than 0 GB of memory|0.1 GB"),
    "doubles": (
        "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}"
        "{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "GB of memory",
    ),
    "the class": ("{{ ''.__class__.__mro__ }}", "SecurityError: .*__class__"),
    "the globals": ("{{ cycler.__init__.__globals__.os.getcwd() }}", "SecurityError"),
    "subclasses": ("{{ messages.__class__.__base__.__subclasses__() }}", "SecurityError"),
    "changes the messages": ("{{ messages.append(1) }}", "SecurityError"),
    "an import": ("{% import 'os' as os %}{{ os }}", "cannot be rendered"),
    "syntax": ("{% for", "TemplateSyntaxError"),
    "deep": ("{{" + "(" * 5000 + ")" * 5000 + "}}", "RecursionError"),
    "a word it does not know": ("{{ a.b.c }}", "UndefinedError"),
    "says no": ("{{ raise_exception('no\n\nand no') }}", "TemplateError: no and no"),
    "too long": ("a" * 1_000_001, "has 1,000,001 characters"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_template_is_one_message_in_bounded_time(monkeypatch, case) -> None:
    monkeypatch.setattr(model_template, "CPU_SECONDS", 1)
    monkeypatch.setattr(model_template, "WALL_FACTOR", 60)
    monkeypatch.setattr(model_template, "MEMORY_BYTES", 100_000_000)
    template, reason = HOSTILE[case]
    started = time.monotonic()
    with pytest.raises(
        ModelError, match=f"(?s)^The base model's chat template .*({reason})"
    ) as info:
        first_difference(template, [Expected(MESSAGES, TOOLS, "x")], {"bos_token": "<bos>"})
    message = str(info.value)
    assert "Nothing was trained" in message and "--base offline" in message
    assert len(message) < 700 and time.monotonic() - started < 60


def test_where_only_the_clock_is_bounded_it_is(monkeypatch) -> None:
    """As on systems that limit neither computing nor memory."""
    monkeypatch.setattr(model_template, "CPU_SECONDS", 8)
    monkeypatch.setattr(model_template, "WALL_FACTOR", 0.1)
    with pytest.raises(ModelError, match="was not finished after 1 seconds"):
        first_difference(LOOP, [Expected(MESSAGES, TOOLS, "x")], {})


def test_the_first_row_with_another_text_is_found_in_one_process() -> None:
    texts = [prompts.render(MESSAGES, TOOLS), "another"]
    expected = [Expected(MESSAGES, TOOLS, text) for text in texts]
    template, variables = "{# mine #}" + prompts.chat_template(), {"bos_token": "<bos>"}
    assert first_difference(template, expected[:1], variables) is None
    assert first_difference(template, expected, variables) == Difference(1, texts[0])


def test_it_sees_no_token_of_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        model_template.subprocess, "run", lambda *a, **k: seen.update(k) or pytest.skip("seen")
    )
    with pytest.raises(pytest.skip.Exception):
        first_difference("x", [Expected(MESSAGES, TOOLS, "x")], {})
    assert "hf_secret" not in str(seen["env"]) and seen["env"]["PYTHONPATH"]


def test_fgkits_own_template_is_compared_without_a_process(tokenizer, monkeypatch) -> None:
    monkeypatch.setattr(model_template, "first_difference", lambda *a: pytest.fail("a process"))
    assert tokenize.check_template(tokenizer, [request(1, "go", ())], PromptSetup(TOOLS)) == 1


@pytest.mark.parametrize(
    ("templates", "reason"),
    [
        ({"tool_use": LOOP, "default": "x"}, "was not finished"),
        ({"rag": "x"}, "several chat templates and none is named default"),
    ],
)
def test_several_templates(tokenizer, monkeypatch, templates, reason) -> None:
    monkeypatch.setattr(model_template, "CPU_SECONDS", 1)
    monkeypatch.setattr(tokenizer, "chat_template", templates)
    with pytest.raises(ModelError, match=reason):
        tokenize.check_template(tokenizer, [request(1, "go", ())], PromptSetup(TOOLS))
