"""Types of the JSON files that fgkit writes and reads back.

    Score         what `evaluate --json` writes, and the scores in the other files (score_types.py)
    Summary       summary.json of a run folder
    Manifest      manifest.json beside it
    ModelRecord   fgkit.json of a model folder
    TfliteRecord  <name>.tflite.json
    BundleRecord  <name>.task.json, <name>.litertlm.json

A field has the name that it has in the file. `fgkit.schema` checks a file against its type once,
when it is read. Fields that are not required may be missing from files that an earlier fgkit or
another tool wrote.
"""

# Without `from __future__ import annotations`: `TypedDict` does not recognise NotRequired in a
# string.
from typing import Any, NotRequired, TypedDict

from .score_types import (
    ArgumentCounts,
    CallRecord,
    ChangedRow,
    GateRecord,
    Interval,
    Provenance,
    Rates,
    Score,
    ScoredRow,
    ScoredRows,
)

__all__ = [
    "ArgumentCounts",
    "BundleRecord",
    "CallRecord",
    "ChangedRow",
    "FileRecord",
    "GateRecord",
    "Interval",
    "Manifest",
    "ModelRecord",
    "Provenance",
    "Rates",
    "Score",
    "ScoredRow",
    "ScoredRows",
    "Settings",
    "Speed",
    "StageRecord",
    "StepRecord",
    "Summary",
    "TfliteParameters",
    "TfliteRecord",
    "Tool",
    "ToolFunction",
    "Variant",
    "Versions",
    "VocabularyRecord",
]

# Version numbers by package name; "python" and "fgkit" are among the names.
Versions = dict[str, str]


class Settings(TypedDict, total=False):
    """Those settings of a notebook that are read back; null leaves a value to the base's recipe."""

    output: str
    model: str
    base: str
    data: str
    eval_data: str
    data_format: str
    tools: str
    seed: int
    quantize: str
    kv_cache_max_len: int
    num_train_epochs: float | None
    learning_rate: float | None
    per_device_train_batch_size: int | None
    gradient_accumulation_steps: int | None
    precision: str | None


class FileRecord(TypedDict):
    """Size and hash of an output."""

    bytes: int
    sha256: NotRequired[str]


class Speed(TypedDict):
    """What `runtime.speed.measure` returns: tokens per second, seconds and bytes."""

    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    peak_memory_bytes: float
    threads: NotRequired[int]
    time_to_first_token: NotRequired[float]
    load_seconds: NotRequired[float]
    prefill_tokens: NotRequired[int]
    decode_tokens: NotRequired[int]


class Variant(TypedDict):
    """The bundle of one quantization, as `quantize` built and measured it."""

    file: str
    bytes: int
    score: Score
    gate: GateRecord
    model_sha256: str
    rows_sha256: str
    speed: NotRequired[Speed]


class Summary(TypedDict):
    """`summary.json`; `workflow.summary.read` adds missing fields, empty."""

    base: Score | None
    tuned: Score | None
    task: Score | None
    litertlm: Score | None
    gate: GateRecord | None
    files: dict[str, FileRecord]
    speed: dict[str, Speed]
    variants: dict[str, Variant]
    seconds: dict[str, float]
    peak_memory_gb: dict[str, float]
    settings: dict[str, Settings]
    versions: Versions


class StepRecord(TypedDict, total=False):
    """The state of one step of a stage, in `manifest.json`."""

    state: str
    started: str
    process: int
    seconds: float
    error: str


class StageRecord(TypedDict, total=False):
    """One stage in `manifest.json`: its inputs, its progress and its outputs."""

    state: str
    fingerprint: str
    inputs: dict[str, str]
    settings: Settings
    versions: Versions
    outputs: dict[str, str]
    steps: dict[str, StepRecord]
    seconds: float
    error: str


Manifest = dict[str, StageRecord]


class VocabularyRecord(TypedDict):
    """How many of the base's vocabulary pieces a model keeps."""

    pieces: int
    of: int


class ToolFunction(TypedDict):
    """The part of a tool that the model sees; `tools.check_tools` checks the schema in it."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any] | None]


class Tool(TypedDict):
    """A declared tool."""

    function: ToolFunction
    type: NotRequired[str]


class ModelRecord(TypedDict, total=False):
    """`fgkit.json` of a model folder: how the model was tuned and how it is prompted."""

    base: str | None
    base_sha256: str
    rows: int
    rows_sha256: str
    style: str | None
    tools_hash: str | None
    tools: list[Tool] | None
    system_message: str | None
    settings: Settings | None
    versions: Versions | None
    vocabulary: VocabularyRecord | None
    modifications: str | None
    log: list[dict[str, float]]
    stopped_after: int | None


class TfliteParameters(TypedDict):
    """The parameters of a conversion; lengths are in tokens."""

    prefill_seq_len: int
    kv_cache_max_len: int
    extra_prefill_seq_lens: NotRequired[list[int]]
    quantize: NotRequired[str]


class TfliteRecord(TypedDict):
    """`<name>.tflite.json`: the model that a network was converted from, and the parameters."""

    parameters: TfliteParameters
    model_sha256: str
    sha256: NotRequired[str]
    bytes: NotRequired[int]
    peak_memory_bytes: NotRequired[int]


class BundleRecord(TypedDict, total=False):
    """The JSON file beside a bundle: what the bundle was made from, its tokens and its scores."""

    style: str | None
    base: str | None
    tools_hash: str | None
    system_message: str | None
    model_sha256: str
    modifications: str | None
    vocabulary: VocabularyRecord | None
    versions: Versions | None
    quantize: str
    profile: str
    model_type: str
    template_writes_tools: bool
    start_token: str
    stop_tokens: list[str]
    prompt_prefix: str | None
    prompt_suffix: str | None
    bytes: int
    members: dict[str, int]
    context: int
    sha256: str
    tflite_sha256: str
    scores: dict[str, Score | None]
    gate: GateRecord | None
    speed: Speed | None
