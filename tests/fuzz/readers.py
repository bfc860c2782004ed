"""Throw arbitrary bytes at every reader of fgkit's: each may refuse them with an FgkitError, in time, and nothing else.

    .venv/bin/python tests/fuzz/readers.py --count 2000                       the corpus, changed at random, seeded
    python tests/fuzz/readers.py --atheris --reader rows --seconds 600        guided by the code reached; needs atheris
    .venv/bin/python tests/fuzz/readers.py --reader rows --work W --merge     from W into the corpus what reaches new lines

In: tests/fuzz/corpus/<reader>/*, bytes as that reader finds them in a file. Bytes that break the rule are written beside
the others as `found-<hash>`; tests/test_fuzz_readers.py reads the corpus on every run. `calls.parse` has a script of its
own, tests/fuzz_calls.py.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from fgkit import locations

CORPUS = Path(__file__).parent / "corpus"
KEPT = 2000  # bytes of the longest input that is added to the corpus
SLOW = 2.0  # seconds of this process for one input
sys.path[:0] = [str(Path(__file__).resolve().parents[2])]


def instrumented() -> contextlib.AbstractContextManager:
    """Where atheris is to choose, every module of fgkit tells it which code was reached."""
    if "--atheris" not in sys.argv:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["fgkit"])


with instrumented():
    from fgkit import checksums, tools
    from fgkit.app import generated_files, model_source
    from fgkit.bundles import create as bundle, read as bundle_files, task as task_archive
    from fgkit.dataset import reading, records
    from fgkit.errors import FgkitError
    from fgkit.evaluation import report, scores as evaluation
    from fgkit.models import model_checks, record as model_records, weights as weight_files
    from fgkit.workflow import manifest, parameters as parameter_files, run as pipeline, summary

    FOLDER = Path(
        tempfile.mkdtemp(
            prefix="fgkit-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        )
    )
    GENERATED = {"a.dart": generated_files.GeneratedFile("new")}
    TOOLS = tools.load_tools(locations.shipped("data", "tools.py"))


def written(name: str, data: bytes) -> Path:
    """The bytes in a file of this name, in memory where the system has such files."""
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def rows(data: bytes) -> None:
    """A data file: whatever its ending, its records can be written down again."""
    for name in ("rows.jsonl", "rows.csv"):
        found = reading.inspect_records(written(name, data), TOOLS)
        assert found.records or found.problems or found.warnings or not data.strip(), (
            "nothing read, nothing said"
        )
        for record in found.records:
            json.dumps(
                [record.messages, record.text, record.tools], allow_nan=False, ensure_ascii=False
            ).encode()
            records.canonical(record.calls).encode()
        for problem in (*found.problems, *found.warnings):
            assert "\n" not in (text := str(problem)), text
            text.encode()
            assert len(text) < 3000, len(text)


def tool_file(data: bytes) -> None:
    """A JSON file of tools: what is taken can be hashed, and a prompt can show it."""
    found = tools.load_tools(written("tools.json", data))
    assert found and tools.tools_hash(found)
    from fgkit.prompts import render

    render([{"role": "user", "content": "x"}], found, add_generation_prompt=True).encode()


def parameters(data: bytes) -> None:
    """A parameter file: names that are texts, and settings or every reason against them."""
    found = parameter_files.read_parameters(written("p.yaml", data))
    assert all(isinstance(name, str) for name in found)
    pipeline.plan(found)


def task(data: bytes) -> None:
    """A `.task`, here with stand-ins for its large members."""
    found = bundle_files.read_bundle(written("a.task", data))
    assert found.profile.stop_tokens is not None


def litertlm(data: bytes) -> None:
    """A `.litertlm`, here with stand-ins for its large sections."""
    found = bundle_files.read_bundle(written("a.litertlm", data))
    assert found.litertlm is not None and found.litertlm.model_type


def metadata(data: bytes) -> None:
    """The protobuf in a `.task`."""
    task_archive._parse_metadata(data, Path("a.task"))


def sidecar(data: bytes) -> None:
    """The JSON beside a bundle."""
    written("b.task.json", data)
    bundle_files.read_bundle(written("b.task", (CORPUS / "task" / "whole").read_bytes()))


def tokenizer(data: bytes) -> None:
    """A SentencePiece file: parsed by its own library, which must not end the process."""
    bundle.check_tokens(
        data, bundle.PROFILES["guide"].stop_tokens, "<start_of_turn>", where="tokenizer.model"
    )


def weights(data: bytes) -> None:
    """A safetensors file, by its header."""
    written("model/model.safetensors", data)
    for text in weight_files.weight_problems(FOLDER / "model"):
        text.encode()
        assert len(text) < 3000
    model_checks.problems_in_file(
        FOLDER / "model" / "model.safetensors", weight_files.data_type_problems
    )


def settings(data: bytes) -> None:
    """The small JSON files of a model folder."""
    for name in ("config.json", "tokenizer.json", "generation_config.json", "fgkit.json"):
        written(f"model/{name}", data)
    written("model/model.safetensors", b"")
    for check in model_checks.check_model_folder(FOLDER / "model"):
        check.reason.encode()


def sums(data: bytes) -> None:
    """SHA256SUMS of a folder that somebody else made: only files in it are looked at."""
    for path in checksums.recorded(written("sums/SHA256SUMS", data).parent):
        assert path.parent == FOLDER / "sums"
    checksums.problems(FOLDER / "sums")


def run_manifest(data: bytes) -> None:
    """A run's manifest."""
    written("run/manifest.json", data)
    manifest.changed(FOLDER / "run", "to_task")


def score(data: bytes) -> None:
    """A score that `evaluate --json` wrote, as `--against` reads it."""
    evaluation.read_score(written("score.json", data))


def run_summary(data: bytes) -> None:
    """A run's summary, as every command that takes a run reads it."""
    content = summary.read(written("done/summary.json", data).parent)
    summary.table(content).encode()
    for found in summary.scores_of(content).values():
        list(report.sections({"one": found, "two": found}))


def model_record(data: bytes) -> None:
    """A model folder's fgkit.json, as prompts and glue read it."""
    folder = written("tuned/fgkit.json", data).parent
    model_records.prompt_setup(folder, TOOLS).developer_text.encode()
    model_source.read_source(folder)


def config(data: bytes) -> None:
    """A model folder's config.json."""
    folder = written("shaped/config.json", data).parent
    for text in model_checks.shape_problems(folder):
        text.encode()
        assert len(text) < 3000, len(text)
    assert model_checks.spec_of_folder(folder).title


def glue_record(data: bytes) -> None:
    """The record beside generated files, which says which of them may be replaced."""
    (FOLDER / "app").mkdir(exist_ok=True)
    (FOLDER / "app" / "a.dart").write_text("old", encoding="utf-8")
    folder = written("app/.fgkit-glue.json", data).parent
    generated_files.refuse_changed({folder: GENERATED})
    generated_files.write(folder, {"a.dart": generated_files.GeneratedFile("old")})


def python_tools(data: bytes) -> None:
    """A Python file of tools, which is run: in a process of its own."""
    found = tools.load_tools(written("tools.py", data))
    assert found and tools.tools_hash(found)


READERS: dict[str, Callable[[bytes], None]] = {
    "rows": rows,
    "tool_file": tool_file,
    "parameters": parameters,
    "task": task,
    "metadata": metadata,
    "litertlm": litertlm,
    "sidecar": sidecar,
    "tokenizer": tokenizer,
    "weights": weights,
    "settings": settings,
    "sums": sums,
    "run_manifest": run_manifest,
    "score": score,
    "run_summary": run_summary,
    "model_record": model_record,
    "config": config,
    "glue_record": glue_record,
    "python_tools": python_tools,
}


def check(reader: str, data: bytes) -> str:
    """Have a reader read bytes and say what became of it: "read" or "refused".

    Raises:
        AssertionError: it was slow, or what it read is not what it promises.
        Exception: whatever it should not have raised.
    """
    start = time.process_time()
    outcome = "read"
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            READERS[reader](data)
        except FgkitError as error:
            assert str(error) and len(str(error)) < 200_000, len(str(error))
            str(error).encode()
            outcome = "refused"
    took = time.process_time() - start
    assert took < SLOW, f"{took:.2f} s for {len(data)} bytes"
    return outcome


def corpus(reader: str) -> list[bytes]:
    """The bytes kept for a reader."""
    return [path.read_bytes() for path in sorted((CORPUS / reader).iterdir())]


SPLICES = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"null",
    b"[]",
    b"{}",
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"&a [*a, *a]",
    b"<<: *a",
    b"!!python",
    b"<escape>",
    "\u0430".encode(),
    "\u202e".encode(),
    "\u2028".encode(),
    b"\x80" * 12,
    b"PK\1\2",
    b"PK\5\6",
    b"../",
]


def changed(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Bytes near others: flipped, cut, doubled, spliced."""
    for _ in range(1 + dice.randrange(4)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice([1, 1, 2, 8, 200]))
        how = dice.randrange(6)
        if how == 0 and start < len(data):
            data = data[:start] + bytes([data[start] ^ 1 << dice.randrange(8)]) + data[start + 1 :]
        elif how == 1:
            data = data[:start] + data[end:]
        elif how == 2:
            data = data[:start] + dice.choice(SPLICES) + data[dice.choice([start, end]) :]
        elif how == 3:
            data = data[:end] + data[start:]
        elif how == 4:
            data = data[:start]
        else:
            other = dice.choice(others)
            data = data[:start] + other[dice.randrange(len(other) + 1) :]
    return data[: 1 << 17]


def run(reader: str, count: int, seed: int) -> Counter:
    """Check `count` inputs near the corpus; give how many were read and refused."""
    dice, known, outcomes = random.Random(seed), corpus(reader), Counter()
    for _ in range(count):
        data = changed(dice.choice(known), known, dice)
        try:
            outcomes[check(reader, data)] += 1
        except BaseException:
            path = CORPUS / reader / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"breaks the rule: {path}", file=sys.stderr)
            raise
    return outcomes


def run_guided(reader: str, seconds: int, seed: int, work: Path) -> None:
    """The same with atheris, which keeps in `work` what reaches new code."""
    import atheris

    work.mkdir(parents=True, exist_ok=True)
    longest = max(8192, *map(len, corpus(reader)))
    atheris.Setup(
        [
            sys.argv[0],
            str(work),
            str(CORPUS / reader),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={longest}",
            "-timeout=300",
            "-rss_limit_mb=4000",
            f"-artifact_prefix={CORPUS / reader}/found-",
            "-print_final_stats=1",
        ],
        lambda data: check(reader, data) and None,
    )
    atheris.Fuzz()


def lines_reached(reader: str, data: bytes) -> set[tuple[str, int]]:
    """The lines of fgkit that a reader runs for these bytes."""
    found: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Callable | None:
        if not Path(frame.f_code.co_filename).is_relative_to(locations.PACKAGE):
            return None
        found.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        check(reader, data)
    finally:
        sys.settrace(None)
    return found


def merge(reader: str, work: Path) -> int:
    """Add to the corpus the shortest inputs of a folder that reach lines which the corpus does not; give how many."""
    known = set().union(*(lines_reached(reader, data) for data in corpus(reader)))
    added = 0
    for data in sorted({path.read_bytes() for path in work.iterdir()}, key=len):
        if len(data) <= KEPT and not (reached := lines_reached(reader, data)) <= known:
            (CORPUS / reader / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
            known, added = known | reached, added + 1
    return added


def seeds() -> None:
    """Write the corpus's beginnings that need a program: archives, tokenizers, weights."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.bundles.test_create import tiny_tokenizer

    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}
    ).encode()
    members = {
        task_archive.TFLITE: b"\x1c\0\0\0TFL3" + bytes(60),
        task_archive.TOKENIZER: tiny_tokenizer(),
        task_archive.METADATA: b"\x2a\x05<eos>\x32\x05<bos>\x8a\x01\x08\x0a\x06\x12\x01a\x1a\x01b",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    for reader, name, content in (
        ("task", "whole", packed.getvalue()),
        ("tokenizer", "whole", members[task_archive.TOKENIZER]),
        ("metadata", "whole", members[task_archive.METADATA]),
        ("weights", "whole", len(header).to_bytes(8, "little") + header + bytes(8)),
    ):
        (CORPUS / reader).mkdir(parents=True, exist_ok=True)
        (CORPUS / reader / name).write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--reader", choices=READERS, help="one of them (default: all, without atheris)"
    )
    parser.add_argument(
        "--count", type=int, default=2000, help="inputs for each reader (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--atheris", action="store_true", help="let atheris choose, by the code reached"
    )
    parser.add_argument("--seconds", type=int, default=60, help="with --atheris: how long")
    parser.add_argument(
        "--work", type=Path, help="a folder for what atheris finds, to go on from or to merge"
    )
    parser.add_argument(
        "--merge", action="store_true", help="add to the corpus what in --work reaches new lines"
    )
    parser.add_argument(
        "--seeds",
        action="store_true",
        help="only write the corpus's beginnings that need a program",
    )
    options = parser.parse_args()
    if options.seeds:
        return seeds()
    if options.atheris:
        return run_guided(
            options.reader, options.seconds, options.seed, options.work or FOLDER / "work"
        )
    if options.merge:
        return print(
            f"{options.reader}: {merge(options.reader, options.work)} inputs reach new lines"
        )
    for reader in [options.reader] if options.reader else READERS:
        start = time.perf_counter()
        outcomes = run(reader, options.count, options.seed)
        print(
            f"{reader}: {options.count:,} inputs, seed {options.seed}, {time.perf_counter() - start:.0f} s; "
            + ", ".join(f"{name} {number:,}" for name, number in outcomes.most_common())
        )


if __name__ == "__main__":
    main()
