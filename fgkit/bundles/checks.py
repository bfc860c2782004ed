"""Numbered checks of a finished bundle of any origin: what would fail on a phone is named before it gets there.

>>> print(checks.table(check_bundle("run/functiongemma-flutter.task", model="run/model")))
 1. pass     format             a .task, as its name says.
 2. pass     whole              3 parts, 290.2 MB.
...

Nothing is run here: `python -m fgkit evaluate` does that. A check whose question cannot be asked is "skipped", never "pass".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fgkit import licence, prompts
from fgkit.checks import Check
from fgkit.dataset import rows as run_rows
from fgkit.errors import FgkitError
from fgkit.models import sentencepiece_model
from fgkit.prompts import styles
from fgkit.prompts.format import CONTROL_TOKENS
from fgkit.record_types import BundleRecord

from . import litertlm, profiles, read as bundle_files
from .profiles import LITERTLM, PROFILES

# Stop tokens that every profile has: without one of them an answer runs on into the next turn or the function's result.
STOPS = frozenset.intersection(
    *(frozenset(one.stop_tokens) for one in (*PROFILES.values(), LITERTLM))
)
# The first bytes of what gets named like a bundle; mediapipe writes four zeros before its archive.
STARTS = {
    rb"LITERTLM": ".litertlm",
    rb"(\0{4})?PK\x03\x04": ".task",
    rb".{4}TFL3": "bare .tflite without a tokenizer",
    rb"version https://git-lfs": "pointer of Git LFS: `git lfs pull` fetches the file",
    rb"\s*<(!doctype|html)": "web page",
}
_AGAIN = "Make or download it again."


def check_bundle(
    path: str | Path,
    *,
    model: str | Path | None = None,
    texts: Sequence[str] | None = None,
    untold: str = "no rows were given.",
) -> list[Check]:
    """Check a `.task` or `.litertlm`: bytes, record, network, tokenizer, stop tokens, prompt texts, length, licence.

    Args:
        path: the bundle.
        model: the model folder that it was made from; its tokenizer must be the one inside, id by id.
        texts: prompts with their answers; the longest must fit the KV cache.
        untold: why there are no `texts`.
    Returns:
        ten checks in the order above; those that a damaged file leaves unanswered are "skipped".
    """
    found = _Answers(Path(path))
    rows: list[tuple[str, Callable[[], str], str]] = [
        ("format", found.format, f"Give it the ending of what it is. {_AGAIN}"),
        ("whole", found.whole, _AGAIN),
        ("record", found.record, "Put the right pair side by side, or delete the .json."),
        ("network", found.network, "Convert the model with to_tflite and bundle it again."),
        (
            "tokenizer",
            found.tokenizer,
            "Bundle it again with the tokenizer.model of a FunctionGemma folder.",
        ),
        (
            "model's tokenizer",
            lambda: found.same_tokenizer(model),
            "Bundle it again with the tokenizer.model of the folder that was converted.",
        ),
        ("start, stop tokens", found.tokens, "Bundle it again with one of fgkit's profiles."),
        ("prompt texts", found.prompt_texts, "Bundle it again with one of fgkit's profiles."),
        (
            "prompts fit",
            lambda: found.fit(texts, untold),
            "Shorten tools or rows, or convert with a larger kv_cache_max_len.",
        ),
        (
            "licence notice",
            found.notice,
            f"Put {licence.NOTICE} beside it: the Gemma terms travel with it.",
        ),
    ]
    return [_asked(number, *row) for number, row in enumerate(rows, 1)]


def check_file(
    path: str | Path,
    *,
    model: str | Path | None = None,
    data: str = "",
    tools: str = "",
    format: str = "auto",
) -> list[Check]:
    """Check a bundle with what lies around it: `model/` beside it, and rows and tools where they are its own.

    Args:
        path: the bundle.
        model: the model folder; None for `model/` beside the bundle, where there is one.
        data: rows whose prompts must fit; the example's where none are named.
        tools: tools file; the example's where none is named.
        format: one of `formats.FORMATS`.
    Raises:
        ToolError, DataError: rows or tools cannot be read, with one line a problem.
    """
    path = Path(path)
    if model is None and (path.parent / "model").is_dir():
        model = path.parent / "model"
    rows = run_rows.load_held_out(data, tools, format)
    try:
        told = bundle_files.read_record(path) if path.is_file() else None
    except FgkitError:  # check 3 says so
        told = None
    if (
        told is None
        or rows.tools
        and told.get("tools_hash") not in (None, run_rows.hash_of(rows.tools))
    ):
        why = (
            "there is no .json beside it that tells the prompt style"
            if told is None
            else ("it was trained with other tools than these: give --tools and --data")
        )
        return check_bundle(path, model=model, untold=f"{why}.")
    setup = rows.setup(
        told.get("system_message") or "", styles.split(told.get("style") or styles.DEFAULT)
    )
    return check_bundle(path, model=model, texts=rows.rendered(setup).held_out.texts())


class _Skipped(Exception):
    """A check's question cannot be asked."""


class _Failed(Exception):
    """A check found something."""


def _asked(number: int, name: str, question: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(number, name, "pass", question())
    except _Skipped as reason:
        return Check(number, name, "skipped", str(reason))
    except _Failed as found:
        return Check(number, name, "fail", str(found), remedy)
    except FgkitError as error:  # says itself what to do
        return Check(number, name, "fail", str(error))


class _Answers:
    """One method a check; each says what it found, or raises why it fails or cannot be asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: bundle_files.BundleInfo | None = None
        self.processor: Any = None
        self.sidecar: BundleRecord | None = None
        self.context = 0

    def format(self) -> str:
        try:
            with open(self.path, "rb") as file:
                start = file.read(32)
        except OSError as error:
            raise _Failed(f"{self.path}: cannot be read: {error.strerror}.") from error
        kind = next(
            (
                kind
                for begins, kind in STARTS.items()
                if re.match(begins, start, re.DOTALL | re.IGNORECASE)
            ),
            f"file that starts with {start[:8]!r}",
        )
        if self.path.suffix not in bundle_files.SUFFIXES or kind != self.path.suffix:
            raise _Failed(
                f"{self.path.name} is a {kind}; expected a {' or '.join(bundle_files.SUFFIXES)}, named so."
            )
        return f"a {kind}, as its name says."

    def whole(self) -> str:
        if self.path.suffix not in bundle_files.SUFFIXES or not self.path.is_file():
            raise _Skipped("there is no bundle to look into.")
        self.info = bundle_files.read_archive(self.path)
        return f"{len(self.info.members)} parts, {self.path.stat().st_size / 1e6:.1f} MB."

    def record(self) -> str:
        self.sidecar = bundle_files.read_record(self._whole().path)
        if self.sidecar is None:
            raise _Skipped("there is no .json beside it.")
        return f"the .json beside it describes these bytes; prompt style {self.sidecar.get('style')!r}."

    def network(self) -> str:
        info, given = self._whole(), self._processor()
        found = bundle_files.read_network(bundle_files.network_of(info), info.path)
        self.context = bundle_files.context_of(found)
        bundle_files.require_pieces(info.path, found, given.GetPieceSize())
        told = info.litertlm.context if info.litertlm else 0  # 0: not said
        if told not in (0, self.context):
            raise _Failed(f"its metadata say {told} tokens, its network takes {self.context}.")
        return f"{', '.join(sorted(found))}; KV cache of {self.context or 'unknown'} tokens; {given.GetPieceSize()} pieces."

    def tokenizer(self) -> str:
        if problems := sentencepiece_model.control_token_problems(self._processor()):
            raise _Failed(f"{'; '.join(problems[:6])}{'; ...' if problems[6:] else ''}.")
        return f"{len(CONTROL_TOKENS)} control tokens have their ids."

    def same_tokenizer(self, model: str | Path | None) -> str:
        given = self._processor()
        if model is None:
            raise _Skipped("no model folder was given.")
        path = Path(model) / "tokenizer.model"
        if not path.is_file():
            raise _Skipped(f"{path}: is not there.")
        if problems := sentencepiece_model.differences(
            sentencepiece_model.parse(path.read_bytes(), path), given
        ):
            raise _Failed(f"not the one of {path}: {'; '.join(problems)}.")
        return f"the same as {path}, id by id."

    def tokens(self) -> str:
        found, problems = self._whole().profile, []
        wanted = self._profile()
        if found.start_token != "<bos>":
            problems.append(f"the start token is {found.start_token!r}, expected '<bos>'")
        if missing := sorted(
            (set(wanted.stop_tokens) if wanted else STOPS) - set(found.stop_tokens)
        ):
            problems.append(f"it does not stop at {', '.join(missing)}")
        if wanted and (more := sorted(set(found.stop_tokens) - set(wanted.stop_tokens))):
            problems.append(f"it stops at {', '.join(more)}, which its profile does not")
        if problems:
            raise _Failed(f"{'; '.join(problems)}.")
        return f"starts with {found.start_token}, stops at {', '.join(found.stop_tokens)}."

    def prompt_texts(self) -> str:
        info, problems = self._whole(), []
        around = (info.profile.prompt_prefix, info.profile.prompt_suffix)
        known = {
            name: (one.prompt_prefix, one.prompt_suffix)
            for name, one in (PROFILES | {"litertlm": LITERTLM}).items()
        }
        own = (self.sidecar or {}).get("profile")
        baked = (
            around[0].endswith(PROFILES["guide"].prompt_prefix)
            and around[1] == PROFILES["guide"].prompt_suffix
        )
        fits = around in known.values() or own in (None, profiles.BAKED) and baked
        if own in known and around != known[own] or not fits:
            problems.append(
                f"a user's turn stands between {around[0][-40:]!r} and {around[1][:60]!r}, which is no profile's"
            )
        if info.litertlm:
            told = info.litertlm
            if told.model_type != litertlm.MODEL_TYPE:
                problems.append(
                    f"LiteRT-LM takes it for {told.model_type!r}, expected {litertlm.MODEL_TYPE!r}"
                )
            if told.template != prompts.chat_template():
                problems.append(
                    f"its chat template ({len(told.template)} characters) is not the one that was trained"
                )
            style = styles.split((self.sidecar or {}).get("style") or styles.DEFAULT)[0]
            if told.template_writes_tools != styles.get(style).template_writes_tools:
                problems.append(
                    "tools are written by "
                    + ("the template" if told.template_writes_tools else "LiteRT-LM")
                    + f", but the model was trained in style {style!r}"
                )
        if problems:
            raise _Failed(f"{'; '.join(problems)}.")
        return (
            "those of "
            + (own or next((name for name, one in known.items() if one == around), profiles.BAKED))
            + "."
        )

    def fit(self, texts: Sequence[str] | None, untold: str) -> str:
        given = self._processor()
        if not texts:
            raise _Skipped(untold)
        if not self.context:
            raise _Skipped("the network does not tell its KV cache.")
        longest = max(len(given.Encode(text.removeprefix("<bos>"))) + 1 for text in texts)
        found = f"the longest of {len(texts)} prompts with its answer has {longest} tokens, the KV cache {self.context}"
        if longest > self.context:
            raise _Failed(f"{found}: {longest - self.context} too many.")
        return f"{found}."

    def notice(self) -> str:
        beside = self.path.with_name(licence.NOTICE)
        if not beside.is_file():
            raise _Failed(f"{beside}: is not there.")
        if "Gemma Terms of Use" not in beside.read_text(encoding="utf-8", errors="replace"):
            raise _Failed(f"{beside}: does not name the Gemma Terms of Use.")
        return f"{licence.NOTICE} lies beside it."

    def _whole(self) -> bundle_files.BundleInfo:
        if self.info is None:
            raise _Skipped("the file cannot be read.")
        return self.info

    def _processor(self) -> Any:
        if self.processor is None:
            info = self._whole()
            self.processor = sentencepiece_model.parse(
                bundle_files.tokenizer_of(info), f"{info.path} tokenizer"
            )
        return self.processor

    def _profile(self) -> profiles.Profile | None:
        """The profile that the stop tokens must be exactly those of; None where it is not known."""
        if self._whole().litertlm:
            return LITERTLM if self.sidecar else None
        name = (self.sidecar or {}).get("profile")
        return PROFILES.get("guide" if name == profiles.BAKED else name)
