"""Kill fgkit at random moments, fill its disk, cut its network, turn back its clock; count what is lost.

    .venv/bin/python tests/faults.py --kills 30 --seed 1       all of it, on a model made here; an hour or more
    .venv/bin/python tests/faults.py --kills 0 --only disk     some of it
    .venv/bin/python tests/faults.py --real --kills 3          one a stage of the real base; a quarter of an hour, 8 GB

In: nothing; a tiny model, 16 rows and a tool are made in a new folder. Out: one line a fault: what was done, what fgkit
said, and whether the next run ended with the very files of a run that nothing disturbed. Exit code 1 if one did not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from faults_job import PATIENCE, STAGES, Job, Result, Started  # noqa: E402
from faults_other import FAULTS  # noqa: E402

NOTEBOOK = 20.0  # seconds of CPU that `run`, its kernel and their imports take besides a stage


def family(pid: int) -> dict[str, int]:
    """The processes of a run by what they are: `run` or the stage itself, `kernel`, `conversion`, `benchmark`."""
    import psutil

    kinds = {
        "ipykernel": "kernel",
        "tflite._worker": "conversion",
        "speed._run_benchmark": "benchmark",
    }
    found = {"run": pid}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            line = " ".join(child.cmdline())
            found[next((kind for part, kind in kinds.items() if part in line), line[:30])] = (
                child.pid
            )
    return found


def kill(
    job: Job, number: int, stage: str, notebook: bool, dice: random.Random, earliest: float
) -> Result:
    """Kill a stage at a random moment of its CPU time, run the same again at once, compare."""
    import psutil

    def start() -> Started:
        return job.start(job.run()) if notebook else job.fork(stage)

    key, alive = f"run from {stage} on" if notebook else stage, False
    job.seconds.setdefault(key, job.seconds[stage] + NOTEBOOK)
    while not alive:  # one that had ended says nothing
        job.before(stage)
        process, moment = start(), dice.uniform(earliest, 1.0) * job.seconds[key]
        if not (alive := process.work(moment)):
            job.seconds[key] = process.spent
    found = family(process.pid)
    victim = dice.choice([*found, "all"])
    for pid in found.values() if victim == "all" else [found[victim]]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    left = files_left(job)
    process = start()
    said, code = process.communicate(timeout=PATIENCE)[0], process.returncode
    for _ in range(300):
        if not (
            orphans := [
                pid for pid in found.values() if psutil.pid_exists(pid) and pid != found["run"]
            ]
        ):
            break
        time.sleep(0.1)
    wrong = job.differences(STAGES if notebook else STAGES[: STAGES.index(stage) + 1])
    wrong += [f"exit code {code}: {said[-500:]}"] if code else []
    wrong += [f"process {pid} is left over" for pid in orphans]
    where = key if notebook else f"{stage} by hand"
    return Result(
        f"kill -9 no. {number}: {where}, {victim} after {moment:.1f} s of CPU time",
        "; ".join(wrong) or f"the same again; {left} in between",
        not wrong,
    )


def files_left(job: Job) -> str:
    """What a killed run left that has a temporary name."""
    odd = (
        [
            name
            for name in job.files() - job.names
            if ".part" in name or ".old" in name or ".tflite-" in name or "checkpoint" in name
        ]
        if job.output.exists()
        else []
    )
    return f"{len(odd)} temporary files"


def kills(
    job: Job, count: int, dice: random.Random, notebooks: int, earliest: float = 0.02
) -> Iterator[Result]:
    """`count` kills spread over the stages; the last `notebooks` of them under `run`, with papermill and kernels."""
    for number in range(1, count + 1):
        yield kill(
            job, number, STAGES[(number - 1) % 3], number > count - notebooks, dice, earliest
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument(
        "--notebooks",
        type=int,
        default=9,
        help="how many of the kills hit `run` itself (default: 9)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only",
        help="only faults of these kinds, with commas between: " + ", ".join(("none", *FAULTS)),
    )
    parser.add_argument(
        "--real",
        action="store_true",
        help="nothing but kills, by hand and late in each stage, of the real offline base",
    )
    parser.add_argument(
        "--folder", type=Path, help="a new folder to work in (default: a temporary one)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fgkit faults \u00e9\u6e2c ") as temporary:
        job = Job(options.folder or Path(temporary) / "a job", real=options.real)
        job.undisturbed()
        took = ", ".join(
            f"{stage} {seconds:.0f} s of CPU time" for stage, seconds in job.seconds.items()
        )
        print(f"undisturbed, in {job.folder.name!r}: {took}", flush=True)
        results = []
        chosen = (
            list(FAULTS)
            if options.only is None
            else [name for name in options.only.split(",") if name != "none"]
        )
        if options.real:  # late enough for a checkpoint, which comes after a minute
            chosen, options.notebooks = [], 0
        sources = [
            kills(
                job,
                options.kills,
                random.Random(options.seed),
                options.notebooks,
                0.75 if options.real else 0.02,
            ),
            *(FAULTS[name](job) for name in chosen),
        ]
        for result in (result for source in sources for result in source):
            results.append(result)
            print(
                f"{'survived' if result.survived else 'LOST':8} | {result.fault} | {result.what}",
                flush=True,
            )
    lost = [result for result in results if not result.survived]
    print(f"{len(results)} faults, {len(results) - len(lost)} survived, {len(lost)} lost")
    return 1 if lost or not results else 0


if __name__ == "__main__":
    sys.exit(main())
