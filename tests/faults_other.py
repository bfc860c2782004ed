"""Faults other than kills: each is done to the tiny job of `faults_job`, and then undone. In: the job. Out: what became of it.

A fault is survived when fgkit said what is wrong in a message without a traceback, no half file has a final name, and the
same command, once the cause is gone, ends with the files of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults_job import NAME, PATIENCE, STAGES, Job, Result

NO_ROOM = "no checkpoint could be written, which it said; the training ended well"
FIND_BASE = (
    "import sys\nfrom fgkit.models.base import find_base\nprint(find_base(sys.argv[1]).folder)"
)


def told(said: str, *words: str) -> list[str]:
    """What is wrong with a message: it lacks a word, or is a traceback."""
    found = [] if any(word in said for word in words) else [f"says nothing of {words[0]!r}"]
    found += [f"but {last(said)}"] if found else []
    return found + (["shows a traceback"] if "Traceback (most" in said else [])


def last(said: str) -> str:
    """The message, as far as it fits into a table."""
    lines = said[max(said.rfind("\nfgkit: "), said.rfind("Error: "), 0) :].split("\n")
    return " ".join(line.strip() for line in lines if line.strip())[:200].replace("|", "/")


def whole(job: Job) -> list[str]:
    """Files with a final name that are not what an undisturbed run leaves."""
    return [
        f"{name} is there, but differs"
        for name, digest in job.hashes().items()
        if job.wanted.get(name) != digest
    ]


def again(job: Job, first: str, last: str = STAGES[-1]) -> list[str]:
    """Do the stages from one to another, which must succeed now; what is wrong with the files up to there."""
    for stage in STAGES[STAGES.index(first) : STAGES.index(last) + 1]:
        code, said = job.step(stage)
        if code:
            return [f"the next {stage}: exit code {code}: {said[-600:]}"]
    return job.differences(STAGES[: STAGES.index(last) + 1])


def run_again(job: Job, **environment: str) -> list[str]:
    """The same with `run`, whatever is to be done."""
    code, said = job.finish(job.run(), **environment)
    return job.differences() + ([f"the next run: exit code {code}: {said[-600:]}"] if code else [])


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A disk in memory, mounted on a folder; PermissionError where this process may not."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@contextlib.contextmanager
def output_on(job: Job, stage: str, room: int) -> Iterator[None]:
    """The output folder before a stage, on a disk of its own with so many kB of room."""
    job.before(stage)
    job.output.mkdir(exist_ok=True)
    kept = job.folder / "kept"
    job.output.rename(kept)
    try:
        used = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in kept.rglob("*"))
        with mounted(job.output, f"size={used + room}k"):
            subprocess.run(["cp", "-a", f"{kept}/.", str(job.output)], check=True)
            yield
    finally:
        subprocess.run(["rm", "-rf", str(kept)], check=True)


def disk(job: Job) -> Iterator[Result]:
    """A disk that fills in each stage, with ever more room."""
    for stage, room, seems_empty in (
        ("finetune", 1000, ""),
        ("finetune", 100, "1"),
        ("finetune", 250, "1"),
        ("finetune", 500, "1"),
        ("to_tflite", 30, ""),
        ("to_tflite", 60, "1"),
        ("to_task", 100, "1"),
        ("to_task", 300, "1"),
    ):
        try:
            with output_on(job, stage, room):
                code, said = job.step(stage, FGKIT_TEST_FILLED=seems_empty)
                wrong = whole(job) + (told(said, "space", "GB are needed") if code else [])
                remount(job.output, "size=200m")
                wrong += again(job, stage, stage)
        except PermissionError as error:
            yield Result("disk full", f"not tried: {error}", True)
            return
        fitted = NO_ROOM if "no checkpoint could" in said else "it fitted"
        yield Result(
            f"disk {'that fills' if seems_empty else 'full'} in {stage}, {room} kB free",
            "; ".join(wrong) or (last(said) if code else fitted),
            not wrong,
        )


def read_only(job: Job) -> Iterator[Result]:
    """An output folder on a disk that only gives."""
    for stage in STAGES:
        try:
            with output_on(job, stage, 9000):
                remount(job.output, "ro")
                wrong = []
                for code, said in (job.finish(job.run()), job.step(stage)):
                    wrong += (
                        whole(job)
                        + told(said, "Read-only file system")
                        + ([] if code else ["exit code 0"])
                    )
                remount(job.output, "rw")
                wrong += again(job, stage, stage)
        except PermissionError as error:
            yield Result("read-only folder", f"not tried: {error}", True)
            return
        yield Result(f"read-only folder before {stage}", "; ".join(wrong) or last(said), not wrong)


def memory(job: Job) -> Iterator[Result]:
    """A conversion that may take so many MB more than it has when the network is to be built."""
    for megabytes in (8, 200):
        job.before("to_tflite")
        code, said = job.step("to_tflite", FGKIT_TEST_MEMORY=str(megabytes))
        wrong = whole(job) + (told(said, "lack of memory") if code else [])
        wrong += again(job, "to_tflite", "to_tflite")
        yield Result(
            f"conversion with {megabytes} MB of memory",
            "; ".join(wrong) or (last(said) if code else "it fitted"),
            not wrong,
        )


def hub(job: Job) -> Iterator[Result]:
    """A Hub that refuses, breaks off, is slow or is gone, while the base model is downloaded from it."""
    from hub_server import Hub

    files = {path.name: path.read_bytes() for path in (job.folder / "base").iterdir()}
    with Hub(files) as server:
        server.accept("hf_token")
        command = [*job.finetune(), "--base", "google/tiny"]
        faults: list[tuple[str, Callable[[], object], str]] = [
            (
                f"the Hub answers {status}",
                lambda status=status: setattr(server, "refuse", lambda path: (status, {})),
                word,
            )
            for status, word in (
                (401, "HF_TOKEN"),
                (403, "HF_TOKEN"),
                (404, "no such model"),
                (429, "wait"),
                (500, "answered 500"),
            )
        ]
        faults += [
            (
                "the Hub breaks off in model.safetensors",
                lambda: server.cut.add("model.safetensors"),
                "broke off",
            ),
            ("the Hub answers slowly", lambda: setattr(server, "pause", 0.2), ""),
            ("nobody listens where the Hub was", lambda: None, "cannot be reached"),
        ]
        for number, (name, begin, word) in enumerate(faults):
            environment = server.environment("hf_token") | {
                "HF_HOME": str(job.folder / f"hub-{number}")
            }
            broken = environment | (
                {"HF_ENDPOINT": "http://127.0.0.1:9"} if "nobody" in name else {}
            )
            job.before("finetune")
            begin()
            if word:
                code, said = job.finish(command, **broken)
                wrong = told(said, word) + ([] if code == 2 else [f"exit code {code}"])
            else:
                code, said = job.finish([sys.executable, "-c", FIND_BASE, "google/tiny"], **broken)
                wrong = [f"exit code {code}: {said[-300:]}"] if code else []
            wrong += ["the token is shown"] if "hf_token" in said else []
            server.refuse, server.pause = lambda path: None, 0.0
            server.cut.clear()
            code, found = job.finish(
                [sys.executable, "-c", FIND_BASE, "google/tiny"], **environment
            )
            folder = Path(found.strip().splitlines()[-1]) if found.strip() else Path()
            wrong += [
                f"{file} differs"
                for file, content in files.items()
                if file != "special_tokens_map.json"
                and (not (folder / file).is_file() or (folder / file).read_bytes() != content)
            ]
            yield Result(
                name,
                "; ".join(wrong) or (last(said) if word else "it waited and got everything"),
                not wrong,
            )


def clock(job: Job) -> Iterator[Result]:
    """A time of day that jumps by days at every look, and files from then."""
    wrong, dice = [], random.Random(0)
    job.before("finetune")
    for stage in STAGES:
        code, said = job.finish(job.steps(stage), FGKIT_TEST_CLOCK="1")
        wrong += [f"{stage}: exit code {code}: {said[-600:]}"] if code else []
        for path in job.output.rglob("*"):
            when = time.time() + dice.uniform(-4, 3) * 86_400
            os.utime(path, (when, when))
    wrong += job.differences()
    code, said = job.finish(job.run())
    wrong += job.differences() + (
        [f"the run after it: exit code {code}: {said[-600:]}"] if code else []
    )
    yield Result(
        "clock jumps by days at every look, through each stage, then a run",
        "; ".join(wrong) or "the same files",
        not wrong,
    )


def interrupt(job: Job) -> Iterator[Result]:
    """Ctrl-C, once and twice, in a training and in a conversion."""
    import psutil

    for stage, begun in (("finetune", "checkpoints/*/*"), ("to_tflite", ".tflite-*")):
        for times in (1, 2):
            job.before(stage)
            process = job.start(job.run())
            while not any(job.output.glob(begun)) and process.poll() is None:
                time.sleep(0.05)
            time.sleep(0.3)
            found = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
            for _ in range(times):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.3)
            said = process.communicate(timeout=PATIENCE)[0]
            wrong = (told(said, "stopped", "Aborted") if times == 1 else []) + whole(job)
            wrong += [] if process.returncode else ["it had ended"]
            wrong += again(job, stage)
            wrong += [f"process {pid} is left over" for pid in found if psutil.pid_exists(pid)]
            yield Result(
                f"Ctrl-C {'once' if times == 1 else 'twice'} in {stage}",
                "; ".join(wrong) or f"exit code {process.returncode}: {last(said)[-90:]}",
                not wrong,
            )


def temporary(job: Job) -> Iterator[Result]:
    """A full /tmp, which here is TMPDIR, and one that is not there."""
    small = job.folder / "tmp"
    try:
        for room in (4, 64):
            with mounted(small, f"size={room}k,nr_inodes=64"):
                with contextlib.suppress(OSError):
                    (small / "full").write_bytes(b"\0" * (room - 4) * 1024)
                job.before("finetune")
                code, said = job.finish(
                    job.run(), TMPDIR=str(small), TMP=str(small), TEMP=str(small)
                )
            wrong = whole(job) + (told(said, "space", "temporary") if code else [])
            wrong += run_again(job) if code else job.differences()
            yield Result(
                f"temporary folder with {room - 4} of {room} kB used",
                "; ".join(wrong) or (last(said) if code else "the same files"),
                not wrong,
            )
    except PermissionError as error:
        yield Result("full /tmp", f"not tried: {error}", True)


def bits(job: Job) -> Iterator[Result]:
    """One flipped bit in each artifact: named by the next step by hand, and never replaced.

    `run` names it, too, and makes it again once it was moved away.
    """
    for name, stage in (
        ("model/model.safetensors", "to_tflite"),
        ("model/tokenizer.model", "to_task"),
        (f"{NAME}_q8_ekv512.tflite", "to_task"),
        (f"{NAME}.task", ""),
        (f"{NAME}.litertlm", ""),
    ):
        job.before(stage or "finetune")
        if not stage:
            subprocess.run(["cp", "-a", str(job.folder / "whole"), str(job.output)], check=True)
        data = bytearray((job.output / name).read_bytes())
        data[-len(data) // 3] ^= 4
        (job.output / name).write_bytes(data)
        code, said = (
            job.step(stage)
            if stage
            else job.finish(
                [
                    sys.executable,
                    "-m",
                    "fgkit",
                    "evaluate",
                    str(job.output / name),
                    "--data",
                    job.parameters["eval_data"],
                    "--tools",
                    job.parameters["tools"],
                ]
            )
        )
        named = (
            any(word in said for word in ("has other bytes", "is damaged", "sha256 differs"))
            and Path(name).name in said
        )
        wrong = [] if code and named else [f"not named: exit code {code}: {last(said)}"]
        code, said = job.finish(job.run())
        if not code or f"{name}: was changed since fgkit wrote it" not in said:
            wrong += [f"not refused by `run`: exit code {code}: {last(said)}"]
        if (job.output / name).read_bytes() != data:
            wrong += ["it was replaced"]
        (job.output / name).unlink(missing_ok=True)
        wrong += run_again(job)
        yield Result(
            f"a flipped bit in {name}, then {stage or 'evaluate'}",
            "; ".join(wrong) or "named and left alone; moved away, it was made again",
            not wrong,
        )


def second(job: Job) -> Iterator[Result]:
    """A second run, and a step by hand, while a first one works."""
    job.before("finetune")
    first = job.start(job.run())
    while not (job.output / "manifest.json").exists() and first.poll() is None:
        time.sleep(0.05)
    commands = (job.run(), job.steps("finetune"), job.finetune())
    wrong = []
    for process in [job.start(command) for command in commands]:
        said = process.communicate(timeout=PATIENCE)[0]
        if not process.returncode or "another run or notebook is writing here" not in said:
            wrong += [f"exit {process.returncode}: {last(said)}"]
    wrong += ["the first had ended before the others asked"] if first.poll() is not None else []
    said = first.communicate(timeout=PATIENCE)[0]
    wrong += job.differences() + ([said[-500:]] if first.returncode else [])
    yield Result(
        "run, finetune and a step by hand in the folder of a run",
        "; ".join(wrong) or "all three refused; the first run ended well",
        not wrong,
    )


FAULTS: dict[str, Callable[[Job], Iterator[Result]]] = {
    "disk": disk,
    "read-only": read_only,
    "memory": memory,
    "hub": hub,
    "clock": clock,
    "interrupt": interrupt,
    "temporary": temporary,
    "bits": bits,
    "second": second,
}
