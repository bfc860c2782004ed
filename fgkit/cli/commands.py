"""What each command does: its options in, what it prints out, and its exit code. `__main__` names the commands and options.

Each imports what it needs itself: `lint` and `tools` are not to wait for torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fgkit.errors import FgkitError


def run(options: argparse.Namespace) -> int:
    """Execute the three notebooks and print the table of scores."""
    from fgkit.workflow import run as pipeline, summary

    parameters = _parameters(options)
    result = pipeline.run(parameters)
    print("\n" + summary.table(result))
    print(f"everything is in {Path(parameters.get('output', 'run')).expanduser().absolute()}")
    return 0


def finetune(options: argparse.Namespace) -> int:
    """Train and score without a notebook, on one device or several."""
    from fgkit import devices
    from fgkit.workflow import distributed

    folder = distributed.finetune(_parameters(options))
    if devices.main_process():
        print(
            f"the tuned model is in {folder}; next: python -m fgkit run --output {folder.parent} --model {folder}"
        )
    return 0


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The notebooks' parameters from a file, from -p, and from the options that have their names."""
    from fgkit.workflow import run as pipeline

    texts = {
        name
        for plan in map(pipeline.declared_parameters, pipeline.NOTEBOOKS)
        for name, default in plan.items()
        if isinstance(default, str)
    }
    given = pipeline.read_parameters(options.parameters) if options.parameters else {}
    given |= dict(options.parameter)
    parameters = {
        name: _literal(value) if isinstance(value, str) and name not in texts else value
        for name, value in given.items()
    }
    named = {
        "output": options.output,
        "base": options.base,
        "data": options.data,
        "eval_data": options.eval,
        "tools": options.tools,
        "model": options.model,
        "data_format": options.format,
    }
    if options.model and options.base:
        raise FgkitError(
            "--model starts at to_tflite with a tuned folder, --base starts at finetune: "
            "give one of them."
        )
    return parameters | {name: value for name, value in named.items() if value is not None}


def evaluate(options: argparse.Namespace) -> int:
    """Score a model folder or a bundle, alone or against another model's answers to the same rows."""
    from fgkit.dataset import rows as run_rows
    from fgkit.evaluation import paired, report as score_report, score_model, scores as evaluation
    from fgkit.files import write_json

    path = Path(options.path).expanduser()
    if not path.exists():
        raise FgkitError(f"{path}: no such model folder or bundle.")
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
        raise FgkitError(
            f"{path}: expected {'a .litertlm' if options.constrained else 'a model folder, a .task or a .litertlm'}."
        )
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


def check(options: argparse.Namespace) -> int:
    """Look into a finished bundle without running it."""
    from fgkit.bundles import checks as bundle_checks
    from fgkit.files import write_json

    found = bundle_checks.check_file(
        Path(options.path).expanduser(),
        model=options.model,
        data=options.data,
        tools=options.tools,
        format=options.format,
    )
    from fgkit import checks

    print(checks.table(found))
    if options.json:
        print("written:", write_json(options.json, [vars(check) for check in found]))
    return 1 if any(check.status == "fail" for check in found) else 0


def lint(options: argparse.Namespace) -> int:
    """Report what the data files hold and what is wrong with them."""
    from . import lint

    return lint.run(
        options.path,
        eval_data=options.eval,
        tools=options.tools,
        format=options.format,
        base=options.base,
        max_length=options.max_length,
        json=options.json,
        plot=options.plot,
    )


def tools(options: argparse.Namespace) -> int:
    """Report what the model sees of each tool and what is wrong with it."""
    from fgkit.files import write_json
    from fgkit.tools import lint_tools

    from .lint import find_tokenizer

    tokenizer, without = find_tokenizer(options.base)
    report = lint_tools(Path(options.path).expanduser(), tokenizer)
    print(report.table() + (f"\nno tokens counted: {without}" if without else ""))
    if options.json:
        write_json(options.json, report.to_json())
        print(f"written: {options.json}")
    return 1 if report.errors else 0


def prompt(options: argparse.Namespace) -> int:
    """Show the prompt of a text or a row, and where another style's differs."""
    from fgkit.dataset import rows as run_rows
    from fgkit.tools import load_tools

    from . import lint, prompt_view

    data, _, tools_file = run_rows.data_files(options.data, "", options.tools)
    tools = load_tools(tools_file)
    record = prompt_view.record_of(
        " ".join(options.text), options.row, data, tools, format=options.format
    )
    tokenizer = lint.find_tokenizer(options.tokens)[0] if options.tokens else None
    found = prompt_view.view(record, tools, options.style, other=options.diff, tokenizer=tokenizer)
    print(
        json.dumps(found, ensure_ascii=False, indent=2)
        if options.json
        else prompt_view.show(found, colour=sys.stdout.isatty())
    )
    return 0


def glue(options: argparse.Namespace) -> int:
    """Write an app's code in Dart and Kotlin and name each file."""
    from fgkit.app import codegen

    source = codegen.read_source(
        options.path,
        tools=options.tools,
        data=options.data,
        format=options.format,
        style=options.style,
    )
    for path in codegen.make(
        source,
        options.output,
        dart=options.dart,
        kotlin=options.kotlin,
        count=options.rows,
        dart_package=options.dart_package,
        kotlin_package=options.kotlin_package,
    ):
        print(path)
    for note in codegen.notes(source):
        print(f"note: {note}")
    return 0


def quantize(options: argparse.Namespace) -> int:
    """Make, run and score a model with each way to store its weights."""
    from fgkit.dataset.rows import load_rows
    from fgkit.workflow import quantization_study as study

    settings = study.settings_of(
        options.path,
        data=options.data,
        eval_data=options.eval,
        tools=options.tools,
        data_format=options.format,
        name=options.name,
    )
    study.study(settings, load_rows(settings), options.only or study.MENU)
    print((settings.folder / study.FOLDER / f"{study.NAME}.md").read_text(encoding="utf-8"), end="")
    return 0


def init(options: argparse.Namespace) -> int:
    """Write sample functions and rows into a new folder."""
    from .init import init

    print(init(options.path))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Say whether this machine has what a step takes."""
    from fgkit.workflow import doctor

    found = doctor.check_environment(options.step, options.output)
    from fgkit import checks

    print(checks.table(found))
    failed = sum(check.status == "fail" for check in found)
    print("everything is there" if not failed else f"{failed} of {len(found)} checks failed")
    return 1 if failed else 0


def compare(options: argparse.Namespace) -> int:
    """Print runs side by side."""
    from .compare import table

    print(table([Path(path).expanduser() for path in options.runs]))
    return 0


def chat(options: argparse.Namespace) -> int:
    """Ask a bundle one question, or what is typed."""
    from fgkit.dataset.rows import data_files

    from .chat import chat

    return chat(
        Path(options.path).expanduser(), data_files(tools=options.tools)[2], options.question
    )


def publish(options: argparse.Namespace) -> int:
    """Publish a finished run on the Hub, or show what would be published."""
    from fgkit.hub import upload

    print(
        upload.publish(
            options.path,
            options.repo,
            public=options.public,
            data=options.data,
            force=options.force,
            dry_run=options.dry_run,
        )
    )
    return 0


def _literal(text: str) -> Any:
    """A parameter value as typed: None, true/false, a number, else text."""
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
