"""Run a finished `.task` or `.litertlm` on the CPU in LiteRT-LM, the runtime that phones use.

>>> with Runtime("run/functiongemma-flutter.task") as runtime:
...     runtime.generate(prompts.render(...), max_new_tokens=64)
'<start_function_call>call:change_background_color{color:<escape>red<escape>}'

The whole rendered prompt goes in and no template is applied, decoding is greedy, and no prompt knows of another. What a
`.litertlm` does in LiteRT-LM's conversations is in `runtime_conversations.py`.
The compiled weights (272 MB) go into fgkit's own cache, never beside the bundle.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fgkit import files, locations
from fgkit.bundles import create as bundle
from fgkit.errors import BundleError
from fgkit.progress import bar
from fgkit.subprocesses import quiet_stderr

KEPT_CACHES = 3
TURN_END = "<end_of_turn>"


class Runtime:
    """A bundle held open in LiteRT-LM; use it in a `with` block.

    Args:
        path: a `.task` or `.litertlm`.
        threads: of the runtime; None: `default_threads()`.
        cache_dir: where LiteRT-LM keeps the compiled weights; by default a folder of fgkit's cache named after the
            bundle's content, of which the newest KEPT_CACHES stay.
    Raises:
        BundleError: the bundle is missing or damaged, or LiteRT-LM does not load it.

    `profile` is the name of the bundle's profile, where the JSON beside it tells; `end_tag_cut` says whether the bundle stops at a call's end tag, so that answers lack it (see `calls.parse`).
    """

    def __init__(
        self, path: str | Path, *, threads: int | None = None, cache_dir: str | Path | None = None
    ):
        self.path = Path(path)
        self._kept: tuple[tuple[str, int], Any] | None = None
        self._unkept: Any = None
        sidecar = (
            bundle.read_bundle(self.path).sidecar or {}
        )  # LiteRT-LM may end the whole process on a damaged file
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
            start = self._engine.bos_token_id
            self._start_token = "" if start is None else self._engine.detokenize([start])
            self.end_tag_cut: bool = (
                self._engine.tokenize("<end_function_call>") in self._engine.eos_token_ids
            )

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; the object cannot be used afterwards."""
        with quiet_stderr():
            self.forget()
            self._engine.close()

    def generate(self, prompt_text: str, *, max_new_tokens: int) -> str:
        """Answer one rendered prompt greedily and return the text up to the first stop token, which is not included.

        The developer turn is computed once for prompts that share it one after the other.

        Args:
            prompt_text: the whole prompt as `prompts.render` gives it, with or without its leading `<bos>`.
            max_new_tokens: longest answer.
        Raises:
            BundleError: the prompt does not fit the bundle's KV cache.
        """
        # A session writes the start token itself, even with templates off: the prompt's own would double it.
        text = prompt_text.removeprefix(self._start_token)
        # A turn's end is one token in any text, so that the two parts have the tokens of the whole.
        end = text.find(TURN_END) + len(TURN_END) if TURN_END in text else 0
        with quiet_stderr() as said:
            try:
                session = self._session_after(text[:end], max_new_tokens)
                session.run_prefill([text[end:]])
                return session.run_decode().texts[0]
            except RuntimeError as error:
                self.forget()
                raise self._failed(text, said(), error) from error

    def answer_wrapped(self, text: str, *, max_new_tokens: int) -> str:
        """Answer a text that the runtime puts between the bundle's prefix and suffix, as clients with templates do."""
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
        """How many tokens a text has in the bundle's tokenizer."""
        return len(self._engine.tokenize(text))

    def generate_all(
        self, prompts: Sequence[str], max_new_tokens: int, progress: bool = True
    ) -> list[str]:
        """Answer many prompts, none knowing of another, with a progress bar; arguments as in `generate`."""
        return [
            self.generate(prompt, max_new_tokens=max_new_tokens)
            for prompt in bar(prompts, desc=self.path.name, unit="row", disable=not progress)
        ]

    def _session_after(self, prefix: str, max_new_tokens: int) -> Any:
        """A session that has read `prefix` and nothing else: the one of last time, wound back, where it is the same."""
        lib, key = (
            self._engine._lib,
            (prefix, max_new_tokens),
        )  # LiteRT-LM's Python has no name for checkpoints yet
        if self._kept is None or self._kept[0] != key:
            self.forget()
            session = self._engine.create_session(
                apply_prompt_template=False,
                sampler_config=self._sampler,
                max_output_tokens=max_new_tokens,
            )
            if not prefix:
                self._unkept = session  # closed by the next call
                return session
            self._kept = key, session
            session.run_prefill([prefix])
            if lib.litert_lm_session_save_checkpoint(ctypes.c_void_p(session._ptr), b"prefix"):
                raise RuntimeError("the state after the developer turn cannot be kept")
        elif lib.litert_lm_session_rewind_to_checkpoint(
            ctypes.c_void_p(self._kept[1]._ptr), b"prefix"
        ):
            raise RuntimeError("the state after the developer turn cannot be restored")
        return self._kept[1]

    def forget(self) -> None:
        """Drop the computed developer turn: the next prompt is read whole."""
        for session in (self._kept[1] if self._kept else None, self._unkept):
            if session is not None:
                session.close()
        self._kept = self._unkept = None

    def _failed(self, text: str, said: str, error: RuntimeError) -> BundleError:
        return BundleError(
            f"{self.path}: LiteRT-LM failed on a prompt of {self.count(text) + 1} tokens "
            f"({reason(said, error)}). Shorten the tool declarations or convert with a larger "
            "kv_cache_max_len."
        )


def default_threads() -> int:
    """LiteRT-LM's own four, or one a core where there are fewer: more than cores only wait for each other."""
    return min(4, os.cpu_count() or 4)


def own_cache(path: Path) -> Path:
    """A cache folder for these very bytes: two bundles can share name, size and second, LiteRT-LM's own key."""
    root = locations.cache_dir("xnnpack")
    mine = root / files.sha256(path)[:16]
    mine.mkdir(exist_ok=True)
    mine.touch()
    for old in sorted((p for p in root.iterdir() if p != mine), key=lambda p: p.stat().st_mtime)[
        : -(KEPT_CACHES - 1)
    ]:
        shutil.rmtree(old, ignore_errors=True)
    return mine


def reason(said: str, error: Exception) -> str:
    """What LiteRT-LM gave as its reason: the first native error line without its time stamp, or Python's message."""
    lines = [
        line.split("] ", 1)[-1].strip()
        for line in said.splitlines()
        if line.startswith(("E0", "ERROR"))
    ]
    return (lines[0] if lines else str(error))[:300]
