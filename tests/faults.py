"""Kill fgkit at random moments, fill its disk, cut its network, turn back its clock; count what is lost. Prints the table.

    .venv/bin/python tests/faults.py --kills 30 --seed 1       all of it, on a model made here; half an hour on 2 cores
    .venv/bin/python tests/faults.py --kills 0 --only disk     some of it
    .venv/bin/python tests/faults.py --real --kills 3          one in each stage of the real base; a quarter of an hour, 8 GB

In: nothing; a tiny model, 16 rows and a tool are made in a new folder. Out: one line a fault: what was done, what fgkit
said, and whether the next run ended with the very files of a run that nothing disturbed. Exit code 1 if one did not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from faults_job import STAGES, Job, Result
from faults_other import FAULTS


def family(process: subprocess.Popen) -> dict[str, int]:
    """The processes of a run by what they are: `run` itself, the notebook's `kernel`, the `conversion`."""
    import psutil

    found = {"run": process.pid}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            line = " ".join(child.cmdline())
            found["kernel" if "ipykernel" in line else "conversion" if "_worker" in line else line[:30]] = child.pid
    return found


def kill(job: Job, number: int, stage: str, notebook: bool, dice: random.Random, earliest: float) -> Result:
    """Kill a stage at a random moment, run the same command again at once, compare."""
    import psutil

    command, alive, slower = job.run() if notebook else job.steps(stage), False, 1.6 if notebook else 1
    while not alive:  # one that had ended on a machine that is less busy now says nothing
        job.before(stage)
        begun, moment = time.monotonic(), dice.uniform(earliest, 1.0) * job.seconds[stage] * slower
        process = job.start(command)
        try:
            process.communicate(timeout=moment)
            job.seconds[stage] = (time.monotonic() - begun) / slower
        except subprocess.TimeoutExpired:
            alive = True
    found = family(process)
    victim = dice.choice([*found, "all"])
    for pid in found.values() if victim == "all" else [found[victim]]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=120)
    left = files_left(job)
    code, said = job.finish(command)
    for _ in range(50):
        if not (orphans := [pid for pid in found.values() if psutil.pid_exists(pid) and pid != process.pid]):
            break
        time.sleep(0.1)
    wrong = job.differences(STAGES if notebook else STAGES[:STAGES.index(stage) + 1])
    wrong += [f"exit code {code}: {said[-500:]}"] if code else []
    wrong += [f"process {pid} is left over" for pid in orphans]
    where = "in its notebook" if notebook else "by hand"
    return Result(f"kill -9 no. {number}: {stage} {where}, {victim} after {moment:.1f} s",
                  "; ".join(wrong) or f"the same again; {left} in between", not wrong)


def files_left(job: Job) -> str:
    """What a killed run left that has a temporary name."""
    odd = [name for name in job.files() - job.names if ".part" in name or ".old" in name or ".tflite-" in name
           or "checkpoint" in name] if job.output.exists() else []
    return f"{len(odd)} temporary files"


def kills(job: Job, count: int, dice: random.Random, notebooks: int, earliest: float = 0.02) -> Iterator[Result]:
    """`count` kills spread over the stages; the last `notebooks` of them under `run`, with papermill and kernels."""
    for number in range(1, count + 1):
        yield kill(job, number, STAGES[(number - 1) % 3], number > count - notebooks, dice, earliest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--notebooks", type=int, default=9, help="how many of the kills hit `run` itself (default: 9)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="only faults of these kinds, with commas between: " + ", ".join(("none", *FAULTS)))
    parser.add_argument("--real", action="store_true", help="nothing but kills, by hand and late in each stage, of the real offline base")
    parser.add_argument("--folder", type=Path, help="a new folder to work in (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fgkit faults \u00e9\u6e2c ") as temporary:
        job = Job(options.folder or Path(temporary) / "a job", real=options.real)
        job.undisturbed()
        print(f"undisturbed, in {job.folder.name!r}: " + ", ".join(f"{k} {v:.0f} s" for k, v in job.seconds.items()), flush=True)
        results = []
        chosen = list(FAULTS) if options.only is None else [name for name in options.only.split(",") if name != "none"]
        if options.real:  # late enough for a checkpoint, which comes after a minute
            chosen, options.notebooks = [], 0
        sources = [kills(job, options.kills, random.Random(options.seed), options.notebooks, 0.75 if options.real else 0.02),
                   *(FAULTS[name](job) for name in chosen)]
        for result in (result for source in sources for result in source):
            results.append(result)
            print(f"{'survived' if result.survived else 'LOST':8} | {result.fault} | {result.what}", flush=True)
    lost = [result for result in results if not result.survived]
    print(f"{len(results)} faults, {len(results) - len(lost)} survived, {len(lost)} lost")
    return 1 if lost or not results else 0


if __name__ == "__main__":
    sys.exit(main())
