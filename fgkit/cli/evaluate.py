"""`python -m fgkit evaluate`: scores of a model folder or a bundle on held-out rows."""

from __future__ import annotations

import argparse
from os.path import expanduser  # unlike Path's method, it accepts any text
from pathlib import Path

from fgkit.errors import FgkitError

from .options import add_data, add_format, add_json, add_tools

HELP = "score a model folder or a finished bundle on held-out rows"
EXAMPLE = "evaluate run/functiongemma-flutter.task --data data/eval_data.jsonl --json score.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", help="a model folder, a .task or a .litertlm")
    add_data(command, "rows, .jsonl or .csv (default: the example's held-out rows)")
    add_tools(command)
    add_format(command)
    add_json(command, "write the scores and every answer to this file")
    command.add_argument(
        "--against",
        metavar="SCORE.json",
        help="what --json wrote of another model for the same rows: show the differences with "
        "their intervals and the rows that changed",
    )
    command.add_argument(
        "--report",
        metavar="DIR",
        type=expanduser,
        help="write tables, pictures and the model-index block of a model card into this folder",
    )
    command.add_argument(
        "--style",
        metavar="STYLE",
        help="prompt style, one that the model was trained in (default: the first stored with it)",
    )
    command.add_argument(
        "--constrained",
        action="store_true",
        help="let a .litertlm's conversations produce only text or complete calls of the declared "
        "tools (docs/bundles.md); the gate's scores are without",
    )


def execute(options: argparse.Namespace) -> int:
    """Score a model folder or a bundle, alone or against another model's answers."""
    from fgkit.dataset import rows as run_rows
    from fgkit.evaluation import paired, report as score_report, score_model, scores as evaluation
    from fgkit.files import write_json
    from fgkit.outputs import require_outputs

    path = Path(options.path).expanduser()
    if not path.exists():
        raise FgkitError(f"{path}: no such model folder or bundle.")
    inputs = {
        "PATH": options.path,
        "--data": options.data,
        "--tools": options.tools,
        "--against": options.against or "",
    }
    report = score_report.paths(options.report) if options.report else []
    outputs = {"--json": options.json} | {f"--report {path.name}": str(path) for path in report}
    require_outputs(outputs, inputs)
    other = evaluation.read_score(Path(options.against).expanduser()) if options.against else None
    rows = run_rows.load_held_out(options.data, options.tools, options.format)
    if other:
        paired.require_rows(other, rows.held_out)
    if path.is_dir() and not options.constrained:
        score = score_model.score_folder(path, rows, style=options.style)
    elif path.suffix in (".task", ".litertlm"):
        score = score_model.score_file(
            path, rows, style=options.style, constrained=options.constrained
        )
    else:
        expected = (
            "a .litertlm" if options.constrained else "a model folder, a .task or a .litertlm"
        )
        raise FgkitError(f"{path}: expected {expected}.")
    named = {path.name: score}
    if other:
        named = {Path(options.against).name: other} | named
        score = score | {"against": {"path": options.against, **score_report.against(other, score)}}
    print("\n\n".join(f"{heading}\n{text}" for heading, text in score_report.sections(named)))
    if options.json:
        write_json(options.json, score)
        print(f"written: {options.json}")
    if options.report:
        data = Path(options.data or "eval_data.jsonl").name
        print("written:", *score_report.write(options.report, named, data=data))
    return 0
