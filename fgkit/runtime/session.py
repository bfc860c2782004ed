"""Run a finished `.task` or `.litertlm` on the CPU in LiteRT-LM, the runtime that phones use.

For example:

    with Runtime("run/functiongemma-flutter.task") as runtime:
        runtime.generate(prompts.render(...), max_new_tokens=64)
    # '<start_function_call>call:change_background_color{color:<escape>red<escape>}'

A prompt goes in as it was rendered, without a template around it; decoding is greedy, and
prompts do not influence each other. Conversations, which a `.litertlm` can hold as well, are in
`conversations`. The compiled weights (272 MB) go into fgkit's own cache, never beside the
bundle.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fgkit import files, locations
from fgkit.bundles import read as bundle_files
from fgkit.errors import BundleError
from fgkit.progress import bar
from fgkit.subprocesses import quiet_stderr

_CACHE_NAME = re.compile("[0-9a-f]{16}")
KEPT_CACHES = 3
TURN_END = "<end_of_turn>"


class Runtime:
    """A bundle that is loaded in LiteRT-LM; use it in a `with` block.

    Its attribute `profile` is the name of the bundle's profile, or "" without the JSON beside it.
    `end_tag_cut` says whether the bundle stops at the end tag of a call, so that answers lack it
    (see `calls.parse`).

    Args:
        path: a `.task` or `.litertlm`.
        threads: of the runtime; None for `default_threads()`.
        cache_dir: where LiteRT-LM keeps the compiled weights. Left out, it is a folder of fgkit's
            cache named after the bundle's content; the newest `KEPT_CACHES` of these are kept.
    Raises:
        BundleError: the bundle is missing or damaged, or LiteRT-LM does not load it.
    """

    def __init__(
        self, path: str | Path, *, threads: int | None = None, cache_dir: str | Path | None = None
    ):
        self.path = Path(path)
        # The session that holds a computed developer turn, with the key of `_session_after`, or one
        # without a developer turn, which is of no use to the next prompt.
        self._prefilled: tuple[tuple[str, int], Any] | None = None
        self._single_use: Any = None
        # Checks the file first: LiteRT-LM may abort the process on a damaged one.
        sidecar = bundle_files.read_bundle(self.path).sidecar or {}
        self.profile: str = sidecar.get("profile", "")
        folder = own_cache(self.path) if cache_dir is None else Path(cache_dir)
        folder.mkdir(parents=True, exist_ok=True)
        import litert_lm

        litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
        with quiet_stderr() as said:
            try:
                self._engine: Any = litert_lm.Engine(
                    str(self.path),
                    backend=litert_lm.Backend.CPU(thread_count=threads or default_threads()),
                    cache_dir=str(folder),
                )
            except RuntimeError as error:
                raise BundleError(
                    f"{self.path}: LiteRT-LM does not load it ({reason(said(), error)}). "
                    "Make the bundle again from a freshly converted .tflite."
                ) from error
            self._sampler = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)
            # The text of the start token, which sessions write themselves.
            start = self._engine.bos_token_id
            self._start_token = "" if start is None else self._engine.detokenize([start])
            self.end_tag_cut: bool = (
                self._engine.tokenize("<end_function_call>") in self._engine.eos_token_ids
            )

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory; the object cannot be used afterwards."""
        with quiet_stderr():
            self.forget()
            self._engine.close()

    def generate(self, prompt_text: str, *, max_new_tokens: int) -> str:
        """Answer one rendered prompt greedily.

        The developer turn is computed only once for consecutive prompts that share it.

        Args:
            prompt_text: the whole prompt from `prompts.render`, with or without its leading
                `<bos>`.
            max_new_tokens: longest answer, in tokens.
        Returns:
            the text up to the first stop token, which is not included.
        Raises:
            BundleError: the prompt does not fit the bundle's KV cache.
        """
        # A session writes the start token itself, even without a template; the prompt's own
        # would be a second one.
        text = prompt_text.removeprefix(self._start_token)
        # The end of a turn is always a token of its own, so the two parts are tokenized exactly as
        # the whole text would be.
        end = text.find(TURN_END) + len(TURN_END) if TURN_END in text else 0
        with quiet_stderr() as said:
            try:
                session = self._session_after(text[:end], max_new_tokens)
                session.run_prefill([text[end:]])
                return session.run_decode().texts[0]
            except RuntimeError as error:
                self.forget()
                raise self._failed(text, said(), error) from error

    def generate_with_template(self, text: str, *, max_new_tokens: int) -> str:
        """Answer a text that the runtime puts between the bundle's prompt prefix and suffix.

        Args:
            text: what an app with templates switched on sends: the request, or the prompt's inside.
            max_new_tokens: longest answer, in tokens.
        Raises:
            BundleError: the prompt does not fit the bundle's KV cache.
        """
        with quiet_stderr() as said:
            try:
                self.forget()
                with self._engine.create_session(
                    apply_prompt_template=True,
                    sampler_config=self._sampler,
                    max_output_tokens=max_new_tokens,
                ) as session:
                    session.run_prefill([text])
                    return session.run_decode().texts[0]
            except RuntimeError as error:
                raise self._failed(text, said(), error) from error

    def count(self, text: str) -> int:
        """Count the tokens of a text in the bundle's tokenizer."""
        return len(self._engine.tokenize(text))

    def generate_all(
        self, prompts: Sequence[str], max_new_tokens: int, progress: bool = True
    ) -> list[str]:
        """Answer many prompts independently of each other.

        Args:
            prompts, max_new_tokens: as for `generate`.
            progress: show a progress bar.
        """
        return [
            self.generate(prompt, max_new_tokens=max_new_tokens)
            for prompt in bar(prompts, desc=self.path.name, unit="row", disable=not progress)
        ]

    def _session_after(self, prefix: str, max_new_tokens: int) -> Any:
        """A session that has read `prefix` and nothing else.

        Where the last prompt had the same prefix, it is the session of last time, rewound.
        """
        # Checkpoints are in LiteRT-LM's C library, but its Python does not wrap them yet.
        lib, key = self._engine._lib, (prefix, max_new_tokens)
        if self._prefilled is None or self._prefilled[0] != key:
            self.forget()
            session = self._engine.create_session(
                apply_prompt_template=False,
                sampler_config=self._sampler,
                max_output_tokens=max_new_tokens,
            )
            if not prefix:
                # Closed by the next call.
                self._single_use = session
                return session
            self._prefilled = key, session
            session.run_prefill([prefix])
            if lib.litert_lm_session_save_checkpoint(ctypes.c_void_p(session._ptr), b"prefix"):
                raise RuntimeError("the state after the developer turn cannot be kept")
        elif lib.litert_lm_session_rewind_to_checkpoint(
            ctypes.c_void_p(self._prefilled[1]._ptr), b"prefix"
        ):
            raise RuntimeError("the state after the developer turn cannot be restored")
        return self._prefilled[1]

    def forget(self) -> None:
        """Drop the computed developer turn, so that the next prompt is computed from its start."""
        for session in (self._prefilled[1] if self._prefilled else None, self._single_use):
            if session is not None:
                session.close()
        self._prefilled = self._single_use = None

    def _failed(self, text: str, said: str, error: RuntimeError) -> BundleError:
        return BundleError(
            f"{self.path}: LiteRT-LM failed on a prompt of {self.count(text) + 1} tokens "
            f"({reason(said, error)}). Shorten the tool declarations or convert with a larger "
            "kv_cache_max_len."
        )


def default_threads() -> int:
    """Return LiteRT-LM's own default of four threads, or one for each core if there are fewer.

    With more threads than cores, they only wait for each other.
    """
    return min(4, os.cpu_count() or 4)


def own_cache(path: Path) -> Path:
    """Make a cache folder for the compiled weights of a bundle, and remove the oldest ones.

    LiteRT-LM's own key is name, size and time in seconds, which two different bundles can share.
    The folder is therefore named after the hash of the content.

    Args:
        path: the bundle.
    """
    root = locations.cache_dir("xnnpack")
    folder = root / files.sha256(path)[:16]
    folder.mkdir(exist_ok=True)
    # The time says when it was last used.
    folder.touch()
    others = [
        other for other in root.iterdir() if other != folder and _CACHE_NAME.fullmatch(other.name)
    ]
    others.sort(key=lambda other: other.stat().st_mtime)
    for other in others[: -(KEPT_CACHES - 1)]:
        shutil.rmtree(other, ignore_errors=True)
    return folder


def reason(said: str, error: Exception) -> str:
    """Find the reason that LiteRT-LM gives for a failure.

    Args:
        said: its native output. The first error line counts, without its time stamp.
        error: the exception of its Python wrapper, for when there is no such line.
    """
    errors = [
        line.split("] ", 1)[-1].strip()
        for line in said.splitlines()
        if line.startswith(("E0", "ERROR"))
    ]
    return (errors[0] if errors else str(error))[:300]
