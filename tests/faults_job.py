"""A job small enough to be killed thirty times: a tiny model, 16 rows, a tool, and what an undisturbed run leaves.

>>> job = Job(folder)
>>> job.undisturbed()
>>> job.before("to_tflite"); job.finish(job.run()); job.differences()
[]
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import faults_steps
import tiny

from fgkit.files import read_json, sha256
from fgkit.workflow import manifest
from fgkit.workflow.locks import LOCK, STEP_LOCK

TESTS = Path(__file__).resolve().parent
NAME = "functiongemma-flutter"
STAGES = ("finetune", "to_tflite", "to_task")
TRAINING = {
    "num_train_epochs": 6,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "precision": "fp32",
    "max_length": 512,
}
REAL = {
    "num_train_epochs": 12,
    "learning_rate": 1e-4,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
}
EXPORT = {"prefill_seq_len": 64, "extra_prefill_seq_len": 0, "kv_cache_max_len": 512}
# What a forked stage finds imported already, so that kills meet its work; a command of its own imports for ten seconds.
PRELOADED = [
    "faults_steps",
    "trl.trainer.sft_trainer",
    "transformers.models.gemma3.modeling_gemma3",
    "litert_lm",
    "mediapipe.tasks.python.genai.bundler",
    "ai_edge_litert.interpreter",
    "litert_lm_builder.litertlm_builder",
    "matplotlib.pyplot",
    "jsonschema.validators",
    "fgkit.training.tuning",
    "fgkit.training.generation",
]
PATIENCE = 3600.0  # seconds; a shared machine may give a process next to nothing


@dataclass
class Result:
    """One fault: what was done, what became of it, and whether that is what we promise."""

    fault: str
    what: str
    survived: bool


class Started:
    """A process under way, what it says, and the CPU seconds that it and all it started have taken.

    Args:
        process: a command, or a stage that was forked.
        said: the file that its output goes to.
    """

    def __init__(self, process: subprocess.Popen | multiprocessing.Process, said: Path):
        self.process, self.pid, self._said, self.spent = process, process.pid, said, 0.0

    @property
    def returncode(self) -> int | None:
        return (
            self.process.returncode
            if isinstance(self.process, subprocess.Popen)
            else self.process.exitcode
        )

    def poll(self) -> int | None:
        """Its exit code, None while it lives."""
        return (
            self.process.poll()
            if isinstance(self.process, subprocess.Popen)
            else self.process.exitcode
        )

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for its end and give what it said, as `subprocess.Popen.communicate` does."""
        if isinstance(self.process, subprocess.Popen):
            self.process.wait(timeout)
        else:
            self.process.join(timeout)
            if self.process.exitcode is None:
                raise subprocess.TimeoutExpired(self.process.name, timeout)
        return self._said.read_text(errors="replace") if self._said.exists() else "", None

    def work(self, seconds: float = float("inf")) -> bool:
        """Wait until so many CPU seconds are spent, or the process has ended; whether it lives."""
        import psutil

        while self.poll() is None and self.spent < seconds:
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(self.pid)
                times = [each.cpu_times() for each in (found, *found.children(recursive=True))]
                self.spent = max(self.spent, sum(sum(each[:4]) for each in times))
            time.sleep(0.05)
        return self.poll() is None


class Job:
    """The tiny job in a folder of its own: its inputs, its commands, and the files that an undisturbed run leaves.

    Args:
        folder: an empty folder; blanks and foreign letters in its name are welcome.
        real: take the offline base for the tiny model, two threads, and the code as it is.
    """

    def __init__(self, folder: Path, *, real: bool = False):
        self.folder, self.output = folder, folder / "out"
        tiny.model_folder(folder / "base", num_hidden_layers=1, layer_types=["sliding_attention"])
        (folder / "tools.py").write_text(
            'def go(place: str):\n    """Go.\n\n    Args:\n        place: Where.\n    """\n'
        )
        for name, count, start in (("rows", 16, 0), ("eval", 2, 16)):
            rows = [
                {
                    "user_content": f"go to {word}",
                    "tool_name": "go",
                    "tool_arguments": json.dumps({"place": word}),
                }
                for word in (
                    f"{'abcdefghijklmnopqr'[index]}{index:02}"
                    for index in range(start, start + count)
                )
            ]
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.parameters = {
            "output": str(self.output),
            "base": str(folder / "base"),
            "data": str(folder / "rows.jsonl"),
            "eval_data": str(folder / "eval.jsonl"),
            "tools": str(folder / "tools.py"),
            **TRAINING,
            **EXPORT,
        }
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "tiny_stack", TESTS.parent, TESTS))),
            "OMP_NUM_THREADS": "1",
            "FGKIT_CACHE": str(folder / "cache"),
            "HF_HUB_OFFLINE": "1",
            "HF_TOKEN": "",
        }
        if real:
            self.parameters |= {"base": "offline", **REAL}
            self.environment |= {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "2"}
            del self.environment["FGKIT_CACHE"]
        self.real = real
        self.seconds: dict[str, float] = {}  # of CPU, by stage
        self._started = 0
        self.wanted: dict[str, str] = {}
        self.names: set[str] = set()

    def run(self) -> list[str]:
        """The command of the whole run."""
        named = {
            "output": "--output",
            "base": "--base",
            "data": "--data",
            "eval_data": "--eval",
            "tools": "--tools",
        }
        options = [
            part
            for key, value in self.parameters.items()
            for part in ([named[key], value] if key in named else ["-p", key, str(value)])
        ]
        return [sys.executable, "-m", "fgkit", "run", *options]

    def finetune(self) -> list[str]:
        """The command of the first stage without a notebook."""
        return [*self.run()[:3], "finetune", *self.run()[4:]]

    def steps(self, stage: str) -> list[str]:
        """The command that does what the cells of one notebook do."""
        return [sys.executable, str(TESTS / "faults_steps.py"), stage, json.dumps(self.parameters)]

    def start(self, command: list[str], **environment: str) -> Started:
        """Start a command in a process group of its own."""
        said = self._said()
        # Whoever starts this in the background of a shell ignores Ctrl-C, and so would every child.
        with open(said, "wb") as file:
            return Started(
                subprocess.Popen(
                    command,
                    env=self.environment | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    start_new_session=True,
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                ),
                said,
            )

    def fork(self, stage: str, **environment: str) -> Started:
        """Start what the cells of one notebook do, of the tiny model without the seconds that imports take."""
        if self.real:
            return self.start(self.steps(stage), **environment)
        context, said, before = (
            multiprocessing.get_context("forkserver"),
            self._said(),
            dict(os.environ),
        )
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(
            target=faults_steps.forked,
            args=(str(said), str(self.folder), environment, stage, self.parameters),
        )
        os.environ.update(
            self.environment
        )  # the server that forks is started by the first of these
        try:
            process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Started(process, said)

    def finish(self, command: list[str], **environment: str) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it said."""
        process = self.start(command, **environment)
        said = process.communicate(timeout=PATIENCE)[0]
        return process.returncode, said

    def step(self, stage: str, **environment: str) -> tuple[int, str]:
        """Do what the cells of one notebook do, to their end; exit code and what was said."""
        process = self.fork(stage, **environment)
        said = process.communicate(timeout=PATIENCE)[0]
        return process.returncode, said

    def _said(self) -> Path:
        self._started += 1
        return self.folder / f"said-{self._started}.txt"

    def undisturbed(self) -> None:
        """Run everything once, by hand, stage by stage; what is there then is what every later run has to end with."""
        for stage in STAGES:
            process = self.fork(stage)
            process.work()
            if process.returncode:
                raise SystemExit(
                    f"the undisturbed {stage} failed:\n{process.communicate()[0][-3000:]}"
                )
            self.seconds[stage] = process.spent
        self.wanted, self.names = self.hashes(), self.files()
        shutil.copytree(self.output, self.folder / "whole")

    def before(self, stage: str) -> None:
        """Put the output folder into the state in which a stage begins."""
        shutil.rmtree(self.output, ignore_errors=True)
        if stage == STAGES[0]:
            return
        shutil.copytree(self.folder / "whole", self.output)
        later = STAGES[STAGES.index(stage) :]
        manifest.forget(self.output, later)
        for path in self.output.glob(f"{NAME}*"):
            if "to_tflite" in later or ".tflite" not in path.name:
                path.unlink()

    def files(self) -> set[str]:
        """Names of all files in the output folder."""
        return {
            str(path.relative_to(self.output)) for path in self.output.rglob("*") if path.is_file()
        }

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files that are the same whenever and however often they are made."""
        return {
            name: sha256(self.output / name)
            for name in sorted(self.files())
            if name.startswith("model/") or name.endswith((".tflite", ".task", ".litertlm"))
        }

    def differences(self, stages: tuple[str, ...] = STAGES) -> list[str]:
        """What of the stages' files is missing, other or too much, compared with an undisturbed run."""
        parts = {
            "finetune": ("model/",),
            "to_tflite": (".tflite",),
            "to_task": (".task", ".litertlm"),
        }
        found, names = self.hashes(), self.files()
        kinds = [part for stage in stages for part in parts[stage]]
        wrong = [
            f"{name} {'differs' if name in found else 'is missing'}"
            for name, digest in self.wanted.items()
            if any(kind in name for kind in kinds) and found.get(name) != digest
        ]
        extra = {
            name
            for name in names - self.names - {LOCK, STEP_LOCK}
            if not name.endswith((".ipynb", ".png")) and not name.startswith("app/")
        }
        if any(text.startswith("model/fgkit.json differs") for text in wrong):
            one, two = (
                read_json(folder / "model" / "fgkit.json")
                for folder in (self.folder / "whole", self.output)
            )
            wrong += [
                f"{key}: {one[key]!r:.900}, {two.get(key)!r:.900}"
                for key in one
                if one[key] != two.get(key)
            ]
        return wrong + [f"{name} is left over" for name in sorted(extra)]
