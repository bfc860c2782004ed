"""Inspect the contents of a finished bundle: a method for each check in `checks`.

A method returns its finding as a sentence. It raises `Failed` when something is wrong, and
`Skipped` when the check cannot be made, for instance because the file cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import files, licence, prompts
from fgkit.models import sentencepiece_model
from fgkit.prompts import styles as prompt_styles
from fgkit.prompts.format import CONTROL_TOKENS
from fgkit.record_types import BundleRecord

from . import litertlm, read as bundle_files, task
from .profiles import DEFAULT, LITERTLM, PROFILES, Profile, embedding_profiles, embeds_declarations

# Stop tokens of every profile: without one of them an answer runs on into the next turn or into
# the function's result.
STOPS = frozenset.intersection(
    *(frozenset(profile.stop_tokens) for profile in (*PROFILES.values(), LITERTLM))
)
# The first bytes of files that get named like a bundle; mediapipe writes four zeros before its
# archive.
STARTS = {
    rb"LITERTLM": ".litertlm",
    rb"(\0{4})?PK\x03\x04": ".task",
    rb".{4}TFL3": "bare .tflite without a tokenizer",
    rb"version https://git-lfs": "pointer of Git LFS: `git lfs pull` fetches the file",
    rb"\s*<(!doctype|html)": "web page",
}


class Skipped(Exception):
    """A check cannot be made."""


class Failed(Exception):
    """A check found a problem."""


class Inspection:
    """The inspection of one bundle.

    Later checks use what earlier checks have read, so the methods are called in their order here.

    Args:
        path: the bundle.
        model: the model folder that it was made from, if known.
        texts: prompts with their answers that must fit in the KV cache, if any are known.
        skip_reason: the reason to report where there are no `texts`.
    """

    def __init__(
        self, path: Path, model: Path | None, texts: Sequence[str] | None, skip_reason: str
    ) -> None:
        self.path, self.model, self.texts = path, model, texts
        self.skip_reason = skip_reason
        self.info: bundle_files.BundleInfo | None = None
        self.sidecar: BundleRecord | None = None
        self.context = 0
        self._processor: Any = None

    def format(self) -> str:
        """Check that the file's first bytes match its ending."""
        if reason := files.why_unreadable(self.path, "a .task or .litertlm"):
            raise Failed(f"{self.path}: {reason}")
        try:
            with open(self.path, "rb") as file:
                start = file.read(32)
        except OSError as error:
            raise Failed(f"{self.path}: cannot be read: {error.strerror}.") from error
        content = next(
            (
                name
                for pattern, name in STARTS.items()
                if re.match(pattern, start, re.DOTALL | re.IGNORECASE)
            ),
            f"file that starts with {start[:8]!r}",
        )
        if self.path.suffix not in bundle_files.SUFFIXES or content != self.path.suffix:
            expected = " or ".join(bundle_files.SUFFIXES)
            raise Failed(f"{self.path.name} is a {content}; expected a {expected}, named so.")
        return f"a {content}, as its name indicates."

    def complete(self) -> str:
        """Check that the archive can be read to its end."""
        if self.path.suffix not in bundle_files.SUFFIXES or not self.path.is_file():
            raise Skipped("there is no bundle to look into.")
        self.info = bundle_files.read_archive(self.path)
        return f"{len(self.info.members)} parts, {self.path.stat().st_size / 1e6:.1f} MB."

    def record(self) -> str:
        """Check that the JSON beside the bundle describes these bytes."""
        self.sidecar = bundle_files.read_record(self._info().path)
        if self.sidecar is None:
            raise Skipped("there is no .json beside it.")
        style = self.sidecar.get("style")
        return f"the .json beside it describes these bytes; prompt style {style!r}."

    def network(self) -> str:
        """Check that the network is a language model with as many pieces as the tokenizer."""
        info, tokenizer = self._info(), self._tokenizer()
        signatures = bundle_files.read_network(bundle_files.network_of(info), info.path)
        self.context = bundle_files.context_of(signatures)
        bundle_files.require_pieces(info.path, signatures, tokenizer.GetPieceSize())
        # 0 means that the metadata do not record a length.
        stated = info.litertlm.context if info.litertlm else 0
        if stated not in (0, self.context):
            raise Failed(f"its metadata say {stated} tokens, its network takes {self.context}.")
        return (
            f"{', '.join(sorted(signatures))}; KV cache of {self.context or 'unknown'} tokens; "
            f"{tokenizer.GetPieceSize()} pieces."
        )

    def tokenizer(self) -> str:
        """Check that the control tokens have their ids."""
        if problems := sentencepiece_model.control_token_problems(self._tokenizer()):
            raise Failed(f"{'; '.join(problems[:6])}{'; ...' if problems[6:] else ''}.")
        return f"{len(CONTROL_TOKENS)} control tokens have their ids."

    def same_tokenizer(self) -> str:
        """Check that the tokenizer has the pieces and ids of the model folder's tokenizer."""
        tokenizer = self._tokenizer()
        if self.model is None:
            raise Skipped("no model folder was given.")
        path = self.model / "tokenizer.model"
        if not path.is_file():
            raise Skipped(f"{path}: is not there.")
        expected = sentencepiece_model.parse(
            files.read_bytes(path, "a tokenizer", limit=task.LIMITS[task.TOKENIZER]), path
        )
        if problems := sentencepiece_model.differences(expected, tokenizer):
            raise Failed(f"not the one of {path}: {'; '.join(problems)}.")
        return f"the same as {path}, id by id."

    def tokens(self) -> str:
        """Check the start and stop tokens against the profile.

        Where the profile is not known, the stop tokens that all profiles share are required.
        """
        actual, wanted = self._info().profile, self._recorded_profile()
        problems = []
        if actual.start_token != "<bos>":
            problems.append(f"the start token is {actual.start_token!r}, expected '<bos>'")
        required = set(wanted.stop_tokens) if wanted else STOPS
        if missing := sorted(required - set(actual.stop_tokens)):
            problems.append(f"it does not stop at {', '.join(missing)}")
        if wanted and (more := sorted(set(actual.stop_tokens) - set(wanted.stop_tokens))):
            problems.append(f"it stops at {', '.join(more)}, which its profile does not")
        if problems:
            raise Failed(f"{'; '.join(problems)}.")
        return f"starts with {actual.start_token}, stops at {', '.join(actual.stop_tokens)}."

    def prompt_texts(self) -> str:
        """Check that the texts around a user's turn are those of the profile."""
        info = self._info()
        around = info.profile.around
        fixed = {
            name: profile.around
            for name, profile in (PROFILES | {"litertlm": LITERTLM}).items()
            if not profile.embeds_declarations
        }
        recorded = (self.sidecar or {}).get("profile")
        # An embedded developer turn differs from model to model, so only its end is compared.
        prefix, suffix = PROFILES[DEFAULT].around
        embeds = around[0].endswith(prefix) and around[1] == suffix
        may_embed = recorded is None or embeds_declarations(recorded)
        problems = []
        if (
            recorded in fixed
            and around != fixed[recorded]
            or not (around in fixed.values() or may_embed and embeds)
        ):
            problems.append(
                f"the texts around a user's turn are {around[0][-40:]!r} and {around[1][:60]!r}, "
                "which is no profile's"
            )
        if info.litertlm:
            problems += self._conversation_problems(info.litertlm)
        if problems:
            raise Failed(f"{'; '.join(problems)}.")
        names = [name for name, texts in fixed.items() if texts == around]
        return f"those of {recorded or next(iter([*names, *embedding_profiles()]))}."

    def prompts_fit(self) -> str:
        """Check that the longest prompt with its answer fits in the KV cache."""
        tokenizer = self._tokenizer()
        if not self.texts:
            raise Skipped(self.skip_reason)
        if not self.context:
            raise Skipped("the network does not record the length of its KV cache.")
        # Plus 1 for `<bos>`, which the tokenizer does not add.
        longest = max(len(tokenizer.Encode(text.removeprefix("<bos>"))) + 1 for text in self.texts)
        finding = (
            f"the longest of {len(self.texts)} prompts with its answer has {longest} tokens, "
            f"the KV cache {self.context}"
        )
        if longest > self.context:
            raise Failed(f"{finding}: {longest - self.context} too many.")
        return f"{finding}."

    def notice(self) -> str:
        """Check that the licence notice is beside the bundle."""
        beside = self.path.with_name(licence.NOTICE)
        if not beside.is_file():
            raise Failed(f"{beside}: is not there.")
        if licence.GEMMA.name not in files.read_bytes(beside, limit=1 << 20).decode(
            "utf-8", "replace"
        ):
            raise Failed(f"{beside}: does not name the {licence.GEMMA.name}.")
        return f"{licence.NOTICE} is beside it."

    def _conversation_problems(self, contents: litertlm.Litertlm) -> list[str]:
        """List how the prompts of LiteRT-LM's conversations would differ from the training's."""
        problems = []
        if contents.model_type != litertlm.MODEL_TYPE:
            problems.append(
                f"LiteRT-LM takes it for {contents.model_type!r}, expected {litertlm.MODEL_TYPE!r}"
            )
        if contents.template != prompts.chat_template():
            problems.append(
                f"its chat template ({len(contents.template)} characters) is not the one that was "
                "trained"
            )
        recorded = (self.sidecar or {}).get("style") or prompt_styles.DEFAULT
        style = prompt_styles.split(recorded)[0]
        if contents.template_writes_tools != prompt_styles.get(style).template_writes_tools:
            writer = "the template" if contents.template_writes_tools else "LiteRT-LM"
            problems.append(
                f"tools are written by {writer}, but the model was trained in style {style!r}"
            )
        return problems

    def _info(self) -> bundle_files.BundleInfo:
        if self.info is None:
            raise Skipped("the file cannot be read.")
        return self.info

    def _tokenizer(self) -> Any:
        """Return the SentencePieceProcessor of the tokenizer inside the bundle."""
        if self._processor is None:
            info = self._info()
            self._processor = sentencepiece_model.parse(
                bundle_files.tokenizer_of(info), f"{info.path} tokenizer"
            )
        return self._processor

    def _recorded_profile(self) -> Profile | None:
        """Return the profile whose stop tokens the bundle must have; None where it is unknown."""
        if self._info().litertlm:
            return LITERTLM if self.sidecar else None
        return PROFILES.get((self.sidecar or {}).get("profile", ""))
