"""Records as token rows: the prompt and the answer that the model is trained on, exactly as they are served.

In: records and tools. Out: `prefix_tree.Row`s, after the text has been compared with the model's own chat template.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fgkit import prompts
from fgkit.errors import DataError, ModelError, PromptError
from fgkit.prompts import styles

from .records import Record

SHOWN = 20  # problems named in one message


def prompt_texts(
    records: Sequence[Record], tools: list[dict], system_message: str = "", style: str = "template"
) -> list[str]:
    """The text that the runtime will put before the model for each record, up to the model's turn.

    Args:
        records: rows; their own tools and developer message stand where they have them.
        tools: the tools declared in the prompts of all other rows.
        system_message: developer text of rows that have none; empty for the official trigger sentence.
        style: which runtime's text, one of `prompts.STYLES`.
    Raises:
        DataError: the style cannot say a row; each is named with its line.
        ToolError: it cannot say the tools.
    """
    texts, problems = [], []
    for record in records:
        try:
            texts.append(
                prompts.render(
                    *conversation_of(record, tools, system_message),
                    add_generation_prompt=True,
                    style=style,
                )
            )
        except PromptError as error:
            problems += [f"line {record.line}: {line}" for line in str(error).splitlines()]
    _raise(problems, style)
    return texts


def conversation_of(
    record: Record, tools: list[dict], system_message: str = ""
) -> tuple[list[dict], list[dict]]:
    """Messages and tools of a record as `prompt_texts` renders them; arguments as there."""
    return list(_with_developer(record.messages, system_message)), list(_tools_of(record, tools))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of rendered text; nothing is added, because the text holds its own `<bos>`."""
    return tokenizer(text, add_special_tokens=False).input_ids


def tokenize_records(
    records: Sequence[Record],
    tools: list[dict],
    tokenizer: Any,
    *,
    max_length: int,
    system_message: str = "",
    style: str = "template",
    seed: int = 0,
) -> list[Row]:
    """Turn records into token rows with the answer marked.

    Args:
        records: rows to train on.
        tools: the tools of rows without their own.
        tokenizer: the base model's.
        max_length: longest row allowed, in tokens.
        system_message: developer text; empty for the official trigger sentence.
        style: which runtime's prompt text; of several with commas between, each row gets one, see `styles.of_row`.
        seed: the run's, for that choice.
    Raises:
        DataError: rows are longer than `max_length`, or a style cannot say them; all are named, none is cut.
    """
    names = styles.split(style)
    texts = {name: prompt_texts(records, tools, system_message, name) for name in names}
    answers = {name: answer_texts(records, name) for name in names}
    rows, too_long = [], []
    for index, record in enumerate(records):
        name = styles.of_row(texts[names[0]][index], names, seed)
        prompt = encode(tokenizer, texts[name][index])
        row = Row(tuple(prompt + encode(tokenizer, answers[name][index])), len(prompt))
        rows.append(row)
        if len(row.tokens) > max_length:
            too_long.append(f"line {record.line}: {len(row.tokens)} tokens")
    if too_long:
        raise DataError(
            f"{len(too_long)} rows are longer than max_length ({max_length}): "
            + ", ".join(too_long[:SHOWN])
            + (f" and {len(too_long) - SHOWN} more" if len(too_long) > SHOWN else "")
            + ". Shorten the tools or the rows, or raise max_length (`-p max_length ...`)."
        )
    return rows


def check_template(
    tokenizer: Any, records: Sequence[Record], tools: list[dict], system_message: str = ""
) -> int:
    """Compare every rendered conversation with the model's own chat template; return how many were compared.

    Args:
        tokenizer: the base model's, with its chat template.
        records: the rows that will be trained.
        tools: the tools of rows without their own.
        system_message: developer text; empty for the official trigger sentence.
    Raises:
        ModelError: the tokenizer has no template, or a text differs; the message shows the first difference.
    """
    if not tokenizer.chat_template:
        raise ModelError(
            "The base model's tokenizer has no chat template, so what the app will send cannot be checked. "
            "Get the model again: chat_template.jinja is missing."
        )
    for record in records:
        messages, own = (
            _with_developer(record.conversation, system_message),
            _tools_of(record, tools),
        )
        ours = prompts.render(messages, own)
        theirs = tokenizer.apply_chat_template(messages, tools=own, tokenize=False)
        if ours != theirs:
            diff = "\n".join(
                difflib.unified_diff(
                    theirs.splitlines(),
                    ours.splitlines(),
                    "the model's chat template",
                    "fgkit.prompts.render",
                    lineterm="",
                    n=0,
                )
            )
            raise ModelError(
                f"line {record.line}: the prompt that would be trained is not the model's own:\n{diff}\n"
                "Nothing was trained. Report this with the tools file: the model's template has changed."
            )
    return len(records)


def answer_texts(records: Sequence[Record], style: str = "template") -> list[str]:
    """The answer that is trained after each record's prompt.

    Args:
        records: rows with their answers.
        style: whose parser will read them.
    Raises:
        DataError: the style cannot say an answer; each is named with its line.
    """
    answers, problems = [], []
    for record in records:
        try:
            answers.append(prompts.answer(record.calls, record.text, style=style))
        except PromptError as error:
            problems += [f"line {record.line}: {line}" for line in str(error).splitlines()]
    _raise(problems, style)
    return answers


def _raise(problems: Sequence[str], style: str) -> None:
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise DataError(
            "\n".join([f"prompt style {style!r} cannot say these rows:", *problems[:SHOWN], *more])
        )


def _with_developer(messages: Sequence[dict], system_message: str) -> list[dict]:
    """The messages after a developer's: the row's own, else the run's, else the official sentence."""
    if prompts.ROLES[messages[0]["role"]] == "developer":
        return list(messages)
    return [
        {"role": "developer", "content": system_message or prompts.DEFAULT_SYSTEM_MSG},
        *messages,
    ]


def _tools_of(record: Record, tools: list[dict]) -> list[dict]:
    return tools if record.tools is None else list(record.tools)


@dataclass(frozen=True)
class Row:
    """One tokenized row.

    Args:
        tokens: prompt and answer ids.
        prompt_length: how many of them are prompt, at least 1; the loss is taken on the rest.
    """

    tokens: tuple[int, ...]
    prompt_length: int
