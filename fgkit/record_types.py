"""The JSON files that fgkit writes and reads again, one type for each, with the names that their fields have in the file.

    Score         what `evaluate --json` writes, and the scores in the other files
    Summary       summary.json of a run's folder
    Manifest      manifest.json beside it
    ModelRecord   fgkit.json of a model folder
    TfliteRecord  <name>.tflite.json
    BundleRecord  <name>.task.json, <name>.litertlm.json

They are checked once, when a file is read (`fgkit.schema`). Fields that are not required are missing where an earlier
fgkit, or another tool, wrote the file. A model's rates run from 0 to 1 and are null where there was nothing to measure.
"""

# Without `from __future__ import annotations`: TypedDict would not see NotRequired in a text.
from typing import Any, NotRequired, TypedDict

Interval = tuple[float, float] | None
Versions = dict[str, str]


class Settings(TypedDict, total=False):
    """Settings of a notebook, as far as they are read again; null where the base's recipe decides."""

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


class CallRecord(TypedDict):
    """A call, in JSON."""

    name: str
    arguments: dict[str, Any]


class ScoredRow(TypedDict):
    """One row, the answer to it, and whether that is right; see `evaluation.scores.score`."""

    line: int
    user_content: str
    expected: list[CallRecord]
    text: str
    calls: list[CallRecord] | None
    tool_ok: bool
    exact: bool
    group: NotRequired[int]
    error: NotRequired[str | None]


class ScoredRows(TypedDict):
    """The part of a score from which all its figures follow."""

    rows: list[ScoredRow]


class Rates(TypedDict):
    """The metrics of some rows."""

    n: int
    tool_accuracy: float | None
    exact_match: float | None
    groups: NotRequired[int]
    parse_rate: NotRequired[float | None]
    argument_precision: NotRequired[float | None]
    argument_recall: NotRequired[float | None]
    intervals: NotRequired[dict[str, Interval]]


class ArgumentCounts(TypedDict):
    """How often an argument was expected, given and right; see `evaluation.matching.argument_table`."""

    expected: int
    given: int
    right: int
    wrong: int
    precision: float | None
    recall: float | None


class Provenance(TypedDict):
    """What a score belongs to: the scored file, the rows, the tools."""

    path: str
    sha256: str
    rows_sha256: str
    tools_hash: str | None


class Score(Rates):
    """A model's answers to the held-out rows, compared with what the rows expect."""

    per_tool: NotRequired[dict[str, Rates]]
    per_kind: NotRequired[dict[str, Rates]]
    per_style: NotRequired[dict[str, Rates]]
    per_argument: NotRequired[dict[str, dict[str, ArgumentCounts]]]
    confusion: NotRequired[dict[str, dict[str, int]]]
    rows: NotRequired[list[ScoredRow]]
    style: NotRequired[str]
    path: NotRequired[str]
    sha256: NotRequired[str]
    rows_sha256: NotRequired[str]
    tools_hash: NotRequired[str | None]
    sent: NotRequired[str]
    prompts_as_trained: NotRequired[int]
    ways: NotRequired[dict[str, Rates]]
    constrained: NotRequired[bool]
    against: NotRequired[dict[str, Any]]


class ChangedRow(TypedDict):
    """A row that one of two models gets right and the other does not; see `evaluation.paired.changed_rows`."""

    line: int
    user_content: str
    expected: list[CallRecord]
    before: str
    after: str
    change: str


class GateRecord(TypedDict):
    """The gate's verdict; see `evaluation.gate.Verdict`."""

    # An empty verdict is none: such a bundle was not compared.
    passed: NotRequired[bool]
    lines: NotRequired[list[str]]
    differences: NotRequired[dict[str, Any]]


class FileRecord(TypedDict):
    """Size and hash of an output."""

    bytes: int
    sha256: NotRequired[str]


class Speed(TypedDict):
    """What `runtime.speed.measure` returns: tokens a second, seconds, bytes."""

    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    peak_memory_bytes: float
    threads: NotRequired[int]
    time_to_first_token: NotRequired[float]
    load_seconds: NotRequired[float]
    prefill_tokens: NotRequired[int]
    decode_tokens: NotRequired[int]


class Variant(TypedDict):
    """One quantization that `quantize` made and measured."""

    file: str
    bytes: int
    score: Score
    gate: GateRecord
    model_sha256: str
    rows_sha256: str
    speed: NotRequired[Speed]


class Summary(TypedDict):
    """`summary.json`; `workflow.summary.read` fills in what is missing."""

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
    """How one step of a stage went."""

    state: str
    started: str
    process: int
    seconds: float
    error: str


class StageRecord(TypedDict, total=False):
    """One stage in `manifest.json`: what it was made from, how far it came, and what it left."""

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
    """How many of the base's pieces a model keeps."""

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
    """How a model was converted."""

    prefill_seq_len: int
    kv_cache_max_len: int
    extra_prefill_seq_lens: NotRequired[list[int]]
    quantize: NotRequired[str]


class TfliteRecord(TypedDict):
    """`<name>.tflite.json`: what a network was converted from, and how."""

    parameters: TfliteParameters
    model_sha256: str
    sha256: NotRequired[str]
    bytes: NotRequired[int]
    peak_memory_bytes: NotRequired[int]


class BundleRecord(TypedDict, total=False):
    """The JSON beside a bundle: what it was made from, its tokens, its scores."""

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
