"""Run a finished `.task` or `.litertlm` on the CPU in LiteRT-LM, the runtime that phones use.

>>> with Runtime("run/functiongemma-flutter.task") as runtime:
...     runtime.generate(prompts.render(...), max_new_tokens=64)
'<start_function_call>call:change_background_color{color:<escape>red<escape>}'

The whole rendered prompt goes in and no template is applied, decoding is greedy, and every prompt starts from nothing.
The compiled weights (272 MB) go into fgkit's own cache, never beside the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import bundle, files
from .errors import BundleError
from .progress import bar
from .tflite import quiet_stderr

KEPT_CACHES = 3


class Runtime:
    """A bundle held open in LiteRT-LM; use it in a `with` block.

    Args:
        path: a `.task` or `.litertlm`.
        cache_dir: where LiteRT-LM keeps the compiled weights; by default a folder of fgkit's cache named after the
            bundle's content, of which the newest KEPT_CACHES stay.
    Raises:
        BundleError: the bundle is missing or damaged, or LiteRT-LM does not load it.

    `end_tag_cut` says whether the bundle stops at a call's end tag, so that answers lack it (see `calls.parse`).
    """

    def __init__(self, path: str | Path, *, cache_dir: str | Path | None = None):
        self.path = Path(path)
        _check_file(self.path)
        folder = _own_cache(self.path) if cache_dir is None else Path(cache_dir)
        folder.mkdir(parents=True, exist_ok=True)
        import litert_lm

        litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
        with quiet_stderr() as said:
            try:
                self._engine: Any = litert_lm.Engine(str(self.path), backend=litert_lm.Backend.CPU(),
                                                     cache_dir=str(folder))
            except RuntimeError as error:
                raise BundleError(f"{self.path}: LiteRT-LM does not load it ({_reason(said(), error)}). "
                                  "Make the bundle again from a freshly converted .tflite.") from error
            self._sampler = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)
            start = self._engine.bos_token_id
            self._start_token = "" if start is None else self._engine.detokenize([start])
            self.end_tag_cut: bool = self._engine.tokenize("<end_function_call>") in self._engine.eos_token_ids

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; the object cannot be used afterwards."""
        with quiet_stderr():
            self._engine.close()

    def generate(self, prompt_text: str, *, max_new_tokens: int) -> str:
        """Answer one rendered prompt greedily and return the text up to the first stop token, which is not included.

        Args:
            prompt_text: the whole prompt as `prompts.render` gives it, with or without its leading `<bos>`.
            max_new_tokens: longest answer.
        Raises:
            BundleError: the prompt does not fit the bundle's KV cache.
        """
        # A session writes the start token itself, even with templates off: the prompt's own would double it.
        text = prompt_text.removeprefix(self._start_token)
        with quiet_stderr() as said:
            try:
                with self._engine.create_session(apply_prompt_template=False, sampler_config=self._sampler,
                                                 max_output_tokens=max_new_tokens) as session:
                    session.run_prefill([text])
                    return session.run_decode().texts[0]
            except RuntimeError as error:
                tokens = len(self._engine.tokenize(text)) + 1
                raise BundleError(f"{self.path}: LiteRT-LM failed on a prompt of {tokens} tokens "
                                  f"({_reason(said(), error)}). Shorten the tool declarations or convert with a larger "
                                  "kv_cache_max_len.") from error

    def generate_all(self, prompts: Sequence[str], max_new_tokens: int, progress: bool = True) -> list[str]:
        """Answer many prompts, each from nothing, with a progress bar; arguments as in `generate`."""
        return [self.generate(prompt, max_new_tokens=max_new_tokens)
                for prompt in bar(prompts, desc=self.path.name, unit="row", disable=not progress)]


def _check_file(path: Path) -> None:
    """LiteRT-LM may end the whole process on a damaged file, so the file is read here first."""
    if path.suffix == ".litertlm":
        try:
            with open(path, "rb") as handle:
                start = handle.read(8)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}. Make it again.") from error
        if start != b"LITERTLM":
            raise BundleError(f"{path}: is no .litertlm (starts with {start!r}). Make or download it again.")
    else:
        bundle.read_bundle(path)


def _own_cache(path: Path) -> Path:
    """A cache folder for these very bytes: two bundles can share name, size and second, LiteRT-LM's own key."""
    root = files.cache_dir("xnnpack")
    mine = root / files.sha256(path)[:16]
    mine.mkdir(exist_ok=True)
    mine.touch()
    for old in sorted((p for p in root.iterdir() if p != mine), key=lambda p: p.stat().st_mtime)[:-(KEPT_CACHES - 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return mine


def _reason(said: str, error: Exception) -> str:
    """The first native error line without its time stamp, or Python's message."""
    lines = [line.split("] ", 1)[-1].strip() for line in said.splitlines() if line.startswith(("E0", "ERROR"))]
    return (lines[0] if lines else str(error))[:300]
