"""Any model folder or finished bundle, scored on the held-out rows with the prompts it was trained with.

>>> rows = load_rows(settings)
>>> score_folder(Path("run/model"), rows)["exact_match"]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import bundle, evaluation, examples, prompts
from .errors import ModelError
from .files import read_json, sha256, shipped
from .records import Record, canonical, load_data
from .tools import load_tools, tools_hash

if TYPE_CHECKING:
    from .config import FinetuneConfig, TaskConfig, TfliteConfig

STYLE = "template"


@dataclass(frozen=True)
class Rows:
    """The tools of a run, its training rows and its held-out rows."""

    tools: list[dict]
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]

    def __str__(self) -> str:
        lines = [f"{'tool':<32}{'training':>10}{'held out':>10}"]
        for name in [tool["function"]["name"] for tool in self.tools]:
            counts = (sum(any(call.name == name for call in row.calls) for row in rows)
                      for rows in (self.train, self.held_out))
            lines.append(f"{name:<32}" + "".join(f"{count:>10}" for count in counts))
        return "\n".join([*lines, f"{'rows':<32}{len(self.train):>10}{len(self.held_out):>10}"])


def load_rows(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Rows:
    """Read tools and rows, the example's where none are named; every wrong line is reported at once.

    Args:
        settings: its `data`, `eval_data`, `tools` and `seed` count.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    data, eval_data, tools_file = data_files(settings.data, settings.eval_data, settings.tools)
    tools = load_tools(tools_file)
    data = load_data(data, eval_data, tools, seed=settings.seed)
    for warning in data.warnings:
        print(f"warning: {warning}")
    return Rows(tools, tuple(data.train), tuple(data.held_out))


def data_files(data: str = "", eval_data: str = "", tools: str = "") -> tuple[Path, Path | str, Path]:
    """The files a run reads: (training rows, held-out rows or "" to split them off, tools)."""
    if not data and not eval_data:
        eval_data = str(shipped("data", "eval_data.jsonl"))
    return (Path(data).expanduser() if data else shipped("data", "training_data.jsonl"),
            Path(eval_data).expanduser() if eval_data else "",
            Path(tools).expanduser() if tools else shipped("data", "tools.py"))


def score_model(folder: Path, rows: Rows, *, system_message: str = "", description: str) -> dict[str, Any]:
    """Score a model folder in PyTorch on the held-out rows.

    Args:
        folder: a model folder.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        description: what the progress bar says.
    """
    from . import base_model, generation

    model, tokenizer = base_model.load(folder)
    if model.device.type == "cpu":  # the same bfloat16 weights, multiplied in fp32: as exact, and faster without a GPU
        model = model.float()
        model.set_attn_implementation("sdpa")
    texts = generation.generate(
        model, tokenizer, examples.prompt_texts(rows.held_out, rows.tools, system_message),
        max_new_tokens=generation.longest_answer(tokenizer, rows.held_out), description=description)
    return evaluation.score(rows.held_out, texts) | origin(folder / "model.safetensors", rows)


def score_bundle(path: Path, rows: Rows, *, system_message: str = "", tokenizer_folder: Path | None = None) -> dict[str, Any]:
    """Score a `.task` or `.litertlm` in LiteRT-LM, each prompt sent whole.

    Args:
        path: the bundle.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        tokenizer_folder: a model folder whose tokenizer counts the longest answer; without one characters do.
    """
    from .runtime import Runtime

    longest = max(len(prompts.completion(row.calls)) for row in rows.held_out)
    if tokenizer_folder:
        from transformers import AutoTokenizer

        from .generation import longest_answer

        longest = longest_answer(AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True), rows.held_out)
    with Runtime(path) as runtime:
        texts = runtime.generate_all(examples.prompt_texts(rows.held_out, rows.tools, system_message), longest)
        score = evaluation.score(rows.held_out, texts, end_tag_cut=runtime.end_tag_cut)
    return score | origin(path, rows)


def score_folder(folder: Path, rows: Rows, *, style: str | None = None) -> dict[str, Any]:
    """Score any whole model folder, with the developer text and the prompt style stored in it."""
    from .base_model import check_folder

    check_folder(folder)
    require_same_tools(folder, rows)
    facts = model_facts(folder)
    require_same_style(folder, facts.get("style"), style)
    return score_model(folder, rows, system_message=facts.get("system_message", ""), description=folder.name)


def score_file(path: Path, rows: Rows, *, style: str | None = None) -> dict[str, Any]:
    """Score any finished bundle, with what the JSON beside it says about its prompts."""
    return score_bundle(path, rows, system_message=bundle_prompt(path, rows.tools, style))


def bundle_prompt(path: Path, tools: list[dict], style: str | None) -> str:
    """Developer text a bundle was trained with; checks that tools and style are its own, or says what is assumed."""
    facts = bundle.read_task(path).sidecar if path.suffix == ".task" else None
    if facts is None:
        if style is None:
            print(f"{path.name}.json is not there: the prompt style is assumed to be {STYLE!r}.")
        return ""
    require_same_style(path, facts.get("style"), style)
    if facts.get("tools_hash") not in (None, tools_hash(tools)):
        raise ModelError(f"{path}: was trained with other tools than these, so the scores would mean nothing. Give the "
                         "tools file it was trained with (--tools).")
    return facts.get("system_message") or ""


def require_same_style(where: Path, stored: str | None, asked: str | None) -> None:
    """Refuse a prompt style that is unknown or not the stored one (ModelError)."""
    for style in filter(None, (stored, asked)):
        if style not in prompts.STYLES:
            raise ModelError(f"{where}: prompt style {style!r} is unknown, expected one of {', '.join(prompts.STYLES)}.")
    if stored and asked and stored != asked:
        raise ModelError(f"{where}: was trained with prompt style {stored!r}, not {asked!r}. Leave --style out.")


def origin(path: Path, rows: Rows) -> dict[str, str]:
    """What a score belongs to: the hashed file, the rows and the tools."""
    return {"path": str(path), "sha256": sha256(path), "rows_sha256": rows_hash(rows.held_out),
            "tools_hash": tools_hash(rows.tools)}


def rows_hash(rows: tuple[Record, ...]) -> str:
    """Hex SHA-256 of rows in their order."""
    text = "\n".join(f"{row.user_content}\t{canonical(row.calls)}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def model_facts(folder: Path) -> dict[str, Any]:
    """What `fgkit.json` in a model folder tells, or nothing where there is none."""
    record = folder / "fgkit.json"
    return read_json(record) if record.is_file() else {}


def system_message_of(folder: Path) -> str:
    """Developer text a model was tuned with; empty for the official sentence or where it is not known."""
    return model_facts(folder).get("system_message", "")


def require_same_tools(folder: Path, rows: Rows) -> None:
    """Refuse to prompt a model with other tools than it was tuned with (ModelError)."""
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and trained != tools_hash(rows.tools):
        raise ModelError(f"{folder}: was trained with other tools than these, so its prompts would not be the ones it "
                         "knows. Give the tools file it was trained with (--tools), or tune it again.")
