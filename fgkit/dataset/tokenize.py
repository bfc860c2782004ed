"""Records as tokenized examples: prompt and answer, exactly as they are served.

In: records and how the model is prompted. Out: texts, or `TokenizedExample`s to train on, after the
text has been compared with the model's own chat template.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fgkit import prompts
from fgkit.chat_types import Message, ToolDeclaration
from fgkit.errors import DataError, ModelError, PromptError
from fgkit.prompts import PromptSetup, styles

from . import model_template
from .records import Record

SHOWN = 20  # problems named in one message


@dataclass(frozen=True)
class TokenizedExample:
    """One row to train on.

    Args:
        tokens: prompt and answer ids.
        prompt_length: how many of them are prompt, at least 1; the loss is taken on the others.
    """

    tokens: tuple[int, ...]
    prompt_length: int


def prompt_texts(
    records: Sequence[Record], setup: PromptSetup, style: str | None = None
) -> list[str]:
    """Write the text that the runtime puts before the model for each record, up to its turn.

    Args:
        records: rows. Their own tools and developer message replace those of the setup.
        setup: how the model is prompted.
        style: whose text, a name in `prompts.STYLES`; None for the setup's first style.
    Raises:
        DataError: the style cannot express a row; each such row is named with its line.
        ToolError: it cannot express the tools.
    """
    writer = styles.get(style or setup.style)
    return _written(
        records,
        writer.name,
        lambda record: writer.render(*conversation_of(record, setup), add_generation_prompt=True),
    )


def answer_texts(records: Sequence[Record], style: str = styles.DEFAULT) -> list[str]:
    """Write the answer that is trained after each record's prompt.

    Args:
        records: rows with their answers.
        style: whose parser will read them.
    Raises:
        DataError: the style cannot express an answer; each such row is named with its line.
    """
    writer = styles.get(style)
    return _written(records, style, lambda record: writer.answer(record.calls, record.text))


def conversation_of(
    record: Record, setup: PromptSetup
) -> tuple[list[Message], list[ToolDeclaration]]:
    """Give the messages and tools of a record as `prompt_texts` renders them."""
    return list(_with_developer(record.messages, setup)), list(_tools_of(record, setup))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Give the token ids of rendered text; nothing is added, as the text holds its own `<bos>`."""
    return tokenizer(text, add_special_tokens=False).input_ids


def tokenize_records(
    records: Sequence[Record],
    setup: PromptSetup,
    tokenizer: Any,
    *,
    max_length: int,
    seed: int = 0,
) -> list[TokenizedExample]:
    """Turn records into tokenized examples.

    Args:
        records: rows to train on.
        setup: how the model is prompted; of several styles each row gets one, see `styles.of_row`.
        tokenizer: the base model's.
        max_length: longest row allowed, in tokens.
        seed: the run's, for the choice of styles.
    Raises:
        DataError: rows are longer than `max_length`, or a style cannot express them; all are
            named, none is cut.
    """
    return tokenize_texts(
        records,
        {name: prompt_texts(records, setup, name) for name in setup.styles},
        {name: answer_texts(records, name) for name in setup.styles},
        tokenizer,
        max_length=max_length,
        seed=seed,
    )


def tokenize_texts(
    records: Sequence[Record],
    prompts_by_style: dict[str, list[str]],
    answers_by_style: dict[str, list[str]],
    tokenizer: Any,
    *,
    max_length: int,
    seed: int = 0,
) -> list[TokenizedExample]:
    """Do what `tokenize_records` does with texts that are written already.

    Args:
        records: the rows, whose lines are named where one is too long.
        prompts_by_style, answers_by_style: the text of every row in every style, styles in the
            order of the setup.
        tokenizer, max_length, seed: as for `tokenize_records`.
    """
    names = tuple(prompts_by_style)
    examples, too_long = [], []
    for index, record in enumerate(records):
        # The first style's prompt is the key, so that a row's style does not depend on the others.
        name = styles.of_row(prompts_by_style[names[0]][index], names, seed)
        # Prompt and answer are encoded apart: no token may reach across the place where the
        # runtime stops writing and the model begins.
        prompt = encode(tokenizer, prompts_by_style[name][index])
        answer = encode(tokenizer, answers_by_style[name][index])
        examples.append(TokenizedExample(tuple(prompt + answer), len(prompt)))
        if len(prompt) + len(answer) > max_length:
            too_long.append(f"line {record.line}: {len(prompt) + len(answer)} tokens")
    if too_long:
        raise DataError(
            f"{len(too_long)} rows are longer than max_length ({max_length}): "
            + ", ".join(too_long[:SHOWN])
            + (f" and {len(too_long) - SHOWN} more" if len(too_long) > SHOWN else "")
            + ". Shorten the tools or the rows, or raise max_length (`-p max_length ...`)."
        )
    return examples


def check_template(tokenizer: Any, records: Sequence[Record], setup: PromptSetup) -> int:
    """Compare every rendered conversation with the model's own chat template.

    Nothing is compared, and 0 returned, where none of the setup's styles is the template's text.

    Args:
        tokenizer: the base model's, with its chat template.
        records: the rows that will be trained.
        setup: how the model is prompted.
    Returns:
        how many conversations were compared.
    Raises:
        ModelError: the tokenizer has no template, the template fails or exceeds its limits, or a
            text differs; the message shows the first difference.
    """
    writer = next((style for style in setup.each_style() if style.is_model_template), None)
    if writer is None:
        return 0
    if not tokenizer.chat_template:
        raise ModelError(
            "The base model's tokenizer has no chat template, so what the app will send cannot be "
            "checked. Get the model again: chat_template.jinja is missing."
        )
    expected = []
    for record in records:
        messages, tools = _with_developer(record.conversation, setup), _tools_of(record, setup)
        expected.append(model_template.Expected(messages, tools, writer.render(messages, tools)))
    if difference := _first_difference(tokenizer, expected):
        raise ModelError(
            f"line {records[difference.row].line}: the prompt that would be trained is not the "
            f"model's own:\n{_diff(difference.text, expected[difference.row].text)}\nNothing was "
            "trained. Report this with the tools file: the model's template has changed."
        )
    return len(records)


def _first_difference(
    tokenizer: Any, expected: Sequence[model_template.Expected]
) -> model_template.Difference | None:
    """Compare with the tokenizer's template: here if it is fgkit's own, else in a child process."""
    template = tokenizer.chat_template
    if template == prompts.chat_template():
        for index, one in enumerate(expected):
            theirs = tokenizer.apply_chat_template(one.messages, tools=one.tools, tokenize=False)
            if theirs != one.text:
                return model_template.Difference(index, theirs)
        return None
    if isinstance(template, dict):
        # As transformers chooses: the one for tools, or the default.
        template = template.get("tool_use") or template.get("default")
    if not isinstance(template, str):
        raise ModelError(
            "The base model has several chat templates and none is named default, so what the app "
            "will send cannot be checked. Keep the one for tools as chat_template.jinja."
        )
    return model_template.first_difference(template, expected, tokenizer.special_tokens_map)


def _written(records: Sequence[Record], style: str, write: Callable[[Record], str]) -> list[str]:
    """Write a text for each record, or refuse all records that the style cannot express."""
    texts, problems = [], []
    for record in records:
        try:
            texts.append(write(record))
        except PromptError as error:
            problems += [f"line {record.line}: {line}" for line in str(error).splitlines()]
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise DataError(
            "\n".join([f"prompt style {style!r} cannot say these rows:", *problems[:SHOWN], *more])
        )
    return texts


def _diff(theirs: str, ours: str) -> str:
    return "\n".join(
        difflib.unified_diff(
            theirs.splitlines(),
            ours.splitlines(),
            "the model's chat template",
            "fgkit.prompts.render",
            lineterm="",
            n=0,
        )
    )


def _with_developer(messages: Sequence[Message], setup: PromptSetup) -> list[Message]:
    """The messages with a developer's first: the row's own, or else the setup's."""
    if prompts.ROLES[messages[0]["role"]] == "developer":
        return list(messages)
    return [{"role": "developer", "content": setup.developer_text}, *messages]


def _tools_of(record: Record, setup: PromptSetup) -> list[ToolDeclaration]:
    return setup.tools if record.tools is None else list(record.tools)
