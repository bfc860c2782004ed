"""A job small enough to be killed thirty times: a tiny model, 16 rows, a tool, and what an undisturbed run leaves.

>>> job = Job(folder)
>>> job.undisturbed()
>>> job.before("to_tflite"); job.finish(job.run()); job.differences()
[]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tiny

from fgkit import manifest
from fgkit.files import read_json, sha256
from fgkit.locks import LOCK, STEP_LOCK

TESTS = Path(__file__).resolve().parent
NAME = "functiongemma-flutter"
STAGES = ("finetune", "to_tflite", "to_task")
TRAINING = {"num_train_epochs": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2, "precision": "fp32", "max_length": 512}
REAL = {"num_train_epochs": 12, "learning_rate": 1e-4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
EXPORT = {"prefill_seq_len": 64, "kv_cache_max_len": 512}
STEPS = """
import sys, json
from fgkit import base_model, bundle, config, pipeline, stages
from fgkit.errors import FgkitError

def cells(name, parameters):
    settings = pipeline.plan(parameters)[name]
    rows = stages.load_rows(settings)
    if name == "finetune":
        base = base_model.find_base(settings.base)
        stages.report_data(settings, base)
        stages.score_base(settings, base, rows)
        stages.finetune(settings, stages.cut_vocabulary(settings, base, rows), rows)
        stages.score_tuned(settings, rows)
    elif name == "to_tflite":
        stages.validate(settings, rows)
        stages.compare_first_token(settings, rows, stages.convert(settings, rows))
    else:
        bundles = stages.bundle_task(settings, rows), stages.bundle_litertlm(settings, rows)
        stages.check_bundles(settings, rows, *bundles)
        stages.score_bundles(settings, rows, *bundles)
        stages.judge(settings, rows, *bundles).require()

try:
    cells(sys.argv[1], json.loads(sys.argv[2]))
except FgkitError as error:
    sys.exit(f"fgkit: {error}")
"""


@dataclass
class Result:
    """One fault: what was done, what became of it, and whether that is what we promise."""

    fault: str
    what: str
    survived: bool


class Job:
    """The tiny job in a folder of its own: its inputs, its commands, and the files that an undisturbed run leaves.

    Args:
        folder: an empty folder; blanks and foreign letters in its name are welcome.
        real: take the offline base for the tiny model, two threads, and the code as it is.
    """

    def __init__(self, folder: Path, *, real: bool = False):
        self.folder, self.output = folder, folder / "out"
        tiny.model_folder(folder / "base")
        (folder / "tools.py").write_text('def go(place: str):\n    """Go.\n\n    Args:\n        place: Where.\n    """\n')
        for name, count, start in (("rows", 16, 0), ("eval", 2, 16)):
            rows = [{"user_content": f"go to {word}", "tool_name": "go", "tool_arguments": json.dumps({"place": word})}
                    for word in (f"{'abcdefghijklmnopqr'[index]}{index:02}" for index in range(start, start + count))]
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.parameters = {"output": str(self.output), "base": str(folder / "base"), "data": str(folder / "rows.jsonl"),
                           "eval_data": str(folder / "eval.jsonl"), "tools": str(folder / "tools.py"), **TRAINING, **EXPORT}
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(TESTS / "tiny_stack"), str(TESTS.parent)]), "OMP_NUM_THREADS": "1",
            "FGKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_TOKEN": ""}
        if real:
            self.parameters |= {"base": "offline", **REAL}
            self.environment |= {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "2"}
            del self.environment["FGKIT_CACHE"]
        self.seconds: dict[str, float] = {}
        self.wanted: dict[str, str] = {}
        self.names: set[str] = set()

    def run(self) -> list[str]:
        """The command of the whole run."""
        named = {"output": "--output", "base": "--base", "data": "--data", "eval_data": "--eval", "tools": "--tools"}
        options = [part for key, value in self.parameters.items()
                   for part in ([named[key], value] if key in named else ["-p", key, str(value)])]
        return [sys.executable, "-m", "fgkit", "run", *options]

    def steps(self, stage: str) -> list[str]:
        """The command that does what the cells of one notebook do."""
        return [sys.executable, "-c", STEPS, stage, json.dumps(self.parameters)]

    def start(self, command: list[str], **environment: str) -> subprocess.Popen:
        """Start a command in a process group of its own."""
        # Whoever starts this in the background of a shell ignores Ctrl-C, and so would every child.
        return subprocess.Popen(command, env=self.environment | environment, stdout=subprocess.PIPE, start_new_session=True,
                                stderr=subprocess.STDOUT, text=True, errors="replace", cwd=self.folder,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def finish(self, command: list[str], **environment: str) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it said."""
        process = self.start(command, **environment)
        said = process.communicate(timeout=600)[0]
        return process.returncode, said

    def undisturbed(self) -> None:
        """Run everything once, by hand, stage by stage; what is there then is what every later run has to end with."""
        for stage in STAGES:
            start = time.monotonic()
            code, said = self.finish(self.steps(stage))
            if code:
                raise SystemExit(f"the undisturbed {stage} failed:\n{said[-3000:]}")
            self.seconds[stage] = time.monotonic() - start
        self.wanted, self.names = self.hashes(), self.files()
        shutil.copytree(self.output, self.folder / "whole")

    def before(self, stage: str) -> None:
        """Put the output folder into the state in which a stage begins."""
        shutil.rmtree(self.output, ignore_errors=True)
        if stage == STAGES[0]:
            return
        shutil.copytree(self.folder / "whole", self.output)
        later = STAGES[STAGES.index(stage):]
        manifest.forget(self.output, later)
        for path in self.output.glob(f"{NAME}*"):
            if "to_tflite" in later or ".tflite" not in path.name:
                path.unlink()

    def files(self) -> set[str]:
        """Names of all files in the output folder."""
        return {str(path.relative_to(self.output)) for path in self.output.rglob("*") if path.is_file()}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files that are the same whenever and however often they are made."""
        return {name: sha256(self.output / name) for name in sorted(self.files())
                if name.startswith("model/") or name.endswith((".tflite", ".task", ".litertlm"))}

    def differences(self, stages: tuple[str, ...] = STAGES) -> list[str]:
        """What of the stages' files is missing, other or too much, compared with an undisturbed run."""
        parts = {"finetune": ("model/",), "to_tflite": (".tflite",), "to_task": (".task", ".litertlm")}
        found, names = self.hashes(), self.files()
        kinds = [part for stage in stages for part in parts[stage]]
        wrong = [f"{name} {'differs' if name in found else 'is missing'}" for name, digest in self.wanted.items()
                 if any(kind in name for kind in kinds) and found.get(name) != digest]
        extra = {name for name in names - self.names - {LOCK, STEP_LOCK} if not name.endswith((".ipynb", ".png")) and not name.startswith("app/")}
        if any(text.startswith("model/fgkit.json differs") for text in wrong):
            one, two = (read_json(folder / "model" / "fgkit.json") for folder in (self.folder / "whole", self.output))
            wrong += [f"{key}: {one[key]!r:.900}, {two.get(key)!r:.900}" for key in one if one[key] != two.get(key)]
        return wrong + [f"{name} is left over" for name in sorted(extra)]


