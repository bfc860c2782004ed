"""Numbered checks of a finished bundle of any origin, which find what would fail on a phone.

The bundle is not run; `python -m fgkit evaluate` does that. A check that cannot be made is
"skipped", never "pass".

For example:

    print(checks.table(check_bundle("run/functiongemma-flutter.task", model="run/model")))
     1. pass     format    a .task, as its name indicates.
     2. pass     whole     3 parts, 290.2 MB.
     ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgkit import licence
from fgkit.checks import Check
from fgkit.dataset import rows as run_rows
from fgkit.errors import BundleError, FgkitError
from fgkit.prompts import styles

from . import read as bundle_files
from .inspection import Failed, Inspection, Skipped


@dataclass(frozen=True)
class BundleCheck:
    """A check of a bundle.

    Args:
        name: the check's name in the table.
        ask: the method that makes the check; see `inspection`.
        remedy: what to do when it fails.
    """

    name: str
    ask: Callable[[Inspection], str]
    remedy: str


# The position in this table is the check's number.
BUNDLE_CHECKS = (
    BundleCheck(
        "format",
        Inspection.format,
        "Rename it to the ending of its format, or make or download it again.",
    ),
    BundleCheck("whole", Inspection.complete, "Make or download it again."),
    BundleCheck(
        "record", Inspection.record, "Put the right pair side by side, or delete the .json."
    ),
    BundleCheck(
        "network", Inspection.network, "Convert the model with to_tflite and bundle it again."
    ),
    BundleCheck(
        "tokenizer",
        Inspection.tokenizer,
        "Bundle it again with the tokenizer.model of a FunctionGemma folder.",
    ),
    BundleCheck(
        "model's tokenizer",
        Inspection.same_tokenizer,
        "Bundle it again with the tokenizer.model of the folder that was converted.",
    ),
    BundleCheck(
        "start, stop tokens",
        Inspection.tokens,
        "Bundle it again with one of fgkit's profiles.",
    ),
    BundleCheck(
        "prompt texts",
        Inspection.prompt_texts,
        "Bundle it again with one of fgkit's profiles.",
    ),
    BundleCheck(
        "prompts fit",
        Inspection.prompts_fit,
        "Shorten tools or rows, or convert with a larger kv_cache_max_len.",
    ),
    BundleCheck(
        "licence notice",
        Inspection.notice,
        f"Put {licence.NOTICE} beside it: the Gemma terms travel with it.",
    ),
)


def check_bundle(
    path: str | Path,
    *,
    model: str | Path | None = None,
    texts: Sequence[str] | None = None,
    skip_reason: str = "no rows were given.",
) -> list[Check]:
    """Check a `.task` or `.litertlm`: bytes, record, network, tokenizer, prompts, licence.

    Args:
        path: the bundle.
        model: the model folder that it was made from, whose tokenizer must have the same pieces
            and ids. Without it that check is skipped.
        texts: prompts with their answers; the longest must fit in the KV cache. Without them that
            check is skipped.
        skip_reason: the reason to report where there are no `texts`.
    Returns:
        the result of each of BUNDLE_CHECKS, in that order; checks that a damaged file makes
        impossible are "skipped".
    """
    inspection = Inspection(Path(path), None if model is None else Path(model), texts, skip_reason)
    return [_asked(number, check, inspection) for number, check in enumerate(BUNDLE_CHECKS, 1)]


def check_file(
    path: str | Path,
    *,
    model: str | Path | None = None,
    data: str = "",
    tools: str = "",
    format: str = "auto",
) -> list[Check]:
    """Check a bundle with the model folder beside it, and with its own rows and tools if available.

    Args:
        path: the bundle.
        model: the model folder; None for `model/` beside the bundle, if that exists.
        data: the file with the rows whose prompts must fit; empty for the example's rows.
        tools: the tools file; empty for the example's tools.
        format: the format of `data`, one of `formats.FORMATS`.
    Raises:
        ToolError, DataError: rows or tools cannot be read; the message has a line for each problem.
    """
    if not Path(path).name:
        raise BundleError(f"{str(path)!r} is no file's name, expected a .task or .litertlm.")
    path = Path(path)
    if model is None and (path.parent / "model").is_dir():
        model = path.parent / "model"
    rows = run_rows.load_held_out(data, tools, format)
    try:
        record = bundle_files.read_record(path) if path.is_file() else None
    except FgkitError:
        # The check of the record reports it.
        record = None
    if record is None:
        reason = "there is no .json beside it that tells the prompt style."
        return check_bundle(path, model=model, skip_reason=reason)
    if rows.tools and record.get("tools_hash") not in (None, run_rows.hash_of(rows.tools)):
        reason = "it was trained with other tools than these: give --tools and --data."
        return check_bundle(path, model=model, skip_reason=reason)
    names = styles.split(record.get("style") or styles.DEFAULT)
    setup = rows.setup(record.get("system_message") or "", names)
    return check_bundle(path, model=model, texts=rows.rendered(setup).held_out.texts())


def _asked(number: int, check: BundleCheck, inspection: Inspection) -> Check:
    try:
        return Check(number, check.name, "pass", check.ask(inspection))
    except Skipped as reason:
        return Check(number, check.name, "skipped", str(reason))
    except Failed as finding:
        return Check(number, check.name, "fail", str(finding), check.remedy)
    except FgkitError as error:
        # The error's message holds its own remedy.
        return Check(number, check.name, "fail", str(error))
