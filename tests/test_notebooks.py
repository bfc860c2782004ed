"""The three notebooks as they lie in the folder: thin, one parameters cell, the guide's values, no outputs."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import own_wheel
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.utils import canonicalize_name

from fgkit import config, devices
from fgkit.bundles.profiles import PROFILES
from fgkit.dataset.formats.detection import FORMATS
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.models import spec
from fgkit.workflow import parameters, run as pipeline

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("finetune", "to_tflite", "to_task")
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
each = pytest.mark.parametrize("name", NAMES)


def notebook(name: str) -> dict:
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(name: str) -> list[dict]:
    cells = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    return cells


def source(cell: dict) -> str:
    return "".join(cell["source"])


def parameters_cell(name: str) -> str:
    (cell,) = [
        cell for cell in notebook(name)["cells"] if "parameters" in cell["metadata"].get("tags", [])
    ]
    assert cell["cell_type"] == "code"
    return source(cell)


def python(name: str) -> ast.Module:
    """All code of a notebook, `%pip` and the like turned into Python."""
    return ast.parse(
        "\n".join(TransformerManager().transform_cell(source(cell)) for cell in code_cells(name))
    )


def test_there_are_exactly_these_three():
    assert {
        path.name for path in (ROOT / "notebooks").iterdir() if path.name != ".ipynb_checkpoints"
    } == {"params", "README.md", *(f"{name}.ipynb" for name in NAMES)}
    assert tuple(pipeline.NOTEBOOKS) == NAMES
    assert [pipeline.notebook_path(name) for name in NAMES] == [
        ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES
    ]


@each
def test_format_kernel_and_nothing_left_in_it(name):
    import nbformat

    text = notebook(name)
    nbformat.validate(text)
    assert text["metadata"]["kernelspec"] == {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    assert set(text["metadata"]) == {"kernelspec", "language_info"}
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(name)
    )
    ids = [cell["id"] for cell in text["cells"]]
    assert len(ids) == len(set(ids))


@each
def test_thin(name):
    cells = code_cells(name)
    lines = [len([line for line in source(cell).splitlines() if line.strip()]) for cell in cells]
    assert len(cells) <= 12 and sum(lines) <= 80
    assert (
        max(
            count
            for count, cell in zip(lines, cells, strict=True)
            if not cell["metadata"].get("tags")
        )
        <= 10
    )
    assert min(lines) >= 1
    assert not [
        node
        for node in ast.walk(python(name))
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Try)
        )
    ]


@each
def test_every_code_cell_compiles(name):
    for index, cell in enumerate(code_cells(name)):
        compile(
            TransformerManager().transform_cell(source(cell)), f"{name}, code cell {index}", "exec"
        )


@each
def test_parameters_are_the_settings_with_their_defaults(name):
    kind, text = pipeline.NOTEBOOKS[name], parameters_cell(name)
    lines = text.splitlines()
    for line in lines:
        code, comment = line.split("#@param", 1)
        assert code.count("=") == 1 and "=" not in comment, line
    values = {}
    for node in ast.parse(text).body:
        assert (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.value, ast.Constant)
        )
        values[node.targets[0].id] = node.value.value
    assert len(values) == len(lines)
    defaults = {item.name: item.default for item in fields(kind)}
    assert values == defaults
    assert {key: type(value) for key, value in values.items()} == {
        key: type(value) for key, value in defaults.items()
    }
    assert pipeline.declared_parameters(name) == values


@each
def test_papermill_sees_every_parameter(name):
    import papermill

    seen = papermill.inspect_notebook(str(pipeline.notebook_path(name)))
    assert set(seen) == {item.name for item in fields(pipeline.NOTEBOOKS[name])}


@pytest.mark.parametrize(
    ("name", "parameter", "choices"),
    [
        ("to_tflite", "quantize", list(QUANTIZATIONS)),
        ("to_task", "profile", ["", *PROFILES]),
        *((name, "data_format", list(FORMATS)) for name in NAMES),
        ("finetune", "lr_scheduler_type", ["cosine", "linear", "constant_with_warmup"]),
    ],
)
def test_the_choices_of_a_form_are_the_ones_that_are_accepted(name, parameter, choices):
    (line,) = [
        line for line in parameters_cell(name).splitlines() if line.startswith(f"{parameter} = ")
    ]
    offered = json.loads(re.search(r"#@param (\[.*\])$", line)[1])
    assert offered == choices
    for choice in offered:
        assert getattr(pipeline.NOTEBOOKS[name](**{parameter: choice}), parameter) == choice


def test_guide_values():
    tflite = pipeline.declared_parameters("to_tflite")
    assert (tflite["prefill_seq_len"], tflite["kv_cache_max_len"], tflite["quantize"]) == (
        256,
        1024,
        "dynamic_int8",
    )
    assert tflite["extra_prefill_seq_len"] == 32
    assert (
        f"{tflite['name']}_{QUANTIZATIONS[tflite['quantize']].suffix}_ekv{tflite['kv_cache_max_len']}.tflite"
        == "functiongemma-flutter_q8_ekv1024.tflite"
    )
    task = pipeline.declared_parameters("to_task")
    assert (task["profile"], task["max_exact_match_loss"], task["max_tool_accuracy_loss"]) == (
        "",
        3.0,
        2.0,
    )
    assert f"{task['name']}.task" == "functiongemma-flutter.task"
    tuning = config.FinetuneConfig(**pipeline.declared_parameters("finetune"))
    assert (tuning.max_length, tuning.lr_scheduler_type, tuning.warmup_ratio) == (
        1024,
        "cosine",
        0.1,
    )
    recipe = tuning.recipe(spec.default_spec().bases[0].recipe)
    assert (recipe.num_train_epochs, recipe.learning_rate) == (3, 1e-5)
    assert recipe.precision == devices.default_precision()
    assert recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps == 32


@each
def test_shared_parameters_have_one_default(name):
    mine, first = pipeline.declared_parameters(name), pipeline.declared_parameters("finetune")
    assert {"output", "data", "eval_data", "tools", "seed"} <= set(mine)
    # The style is chosen once, in finetune; later notebooks take the model's own unless told which to insist on.
    assert all(mine[key] == first[key] for key in mine if key in first and key != "style")
    assert mine["style"] == ("template" if name == "finetune" else "")
    if name != "finetune":
        assert (
            mine["name"] == pipeline.declared_parameters("to_tflite")["name"]
            and mine["model"] == ""
        )


@each
def test_order_and_badge(name):
    cells = notebook(name)["cells"]
    number = NAMES.index(name) + 1
    title = source(cells[0])
    assert cells[0]["cell_type"] == "markdown" and title.startswith(f"# {number} of 3: ")
    for part in ("**Goal.**", "**Hardware.**", "minutes", "**In:**", "**Out:**"):
        assert part in title
    assert re.search(
        r"\[!\[Open in Colab\]\(https://colab\.research\.google\.com/assets/colab-badge\.svg\)\]"
        rf"\(https://colab\.research\.google\.com/github/\S+/notebooks/{name}\.ipynb\)",
        title,
    )
    code = code_cells(name)
    assert "colab.prepare" in source(code[0]) and code[1]["metadata"].get("tags") == ["parameters"]
    assert f"config.from_notebook(config.{pipeline.NOTEBOOKS[name].__name__}, globals())" in source(
        code[2]
    )
    steps = cells[cells.index(code[3]) - 1 :]
    assert [cell["cell_type"] for cell in steps] == ["markdown", "code"] * (
        len(steps) // 2
    )  # what to expect, each
    assert source(steps[-2]).startswith("## Where it is and what is next")
    assert "colab.keep(settings.folder)" in source(code[-1])


@each
def test_installs_in_colab_only_and_from_the_one_source(name):
    install = source(code_cells(name)[0])
    wanted = SETUP["fgkit"]["source"]
    assert re.findall(r'os\.environ\.get\("FGKIT_SOURCE", "([^"]+)"\)', install) == [wanted]
    (extra,) = re.findall(r'"fgkit\[(\S+)\] @ \{source\}"', install)
    assert extra == canonicalize_name(f"colab-{name}") and f'colab.prepare("{name}")' in install
    body = ast.parse(TransformerManager().transform_cell(install)).body
    (guard,) = [node for node in body if isinstance(node, ast.If)]
    assert ast.unparse(guard.test) == "'google.colab' in sys.modules"
    assert "pip" in ast.unparse(guard)
    assert not [node for node in body if node is not guard and "pip" in ast.unparse(node)]
    assert "pip" not in "".join(source(cell) for cell in code_cells(name)[1:])


@each
def test_every_name_of_fgkit_exists_and_takes_these_arguments(name):
    tree = python(name)
    modules = {
        alias.name: importlib.import_module(f"{node.module}.{alias.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fgkit")
        for alias in node.names
        if node.module
        in ("fgkit", "fgkit.ui", "fgkit.workflow", "fgkit.hub", "fgkit.app", "fgkit.models")
    }
    assert {"colab", "config", "stages"} <= set(modules)
    owners = modules | {"settings": pipeline.NOTEBOOKS[name]()}
    used = {
        ast.unparse(node): (owners[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in owners
    }
    assert not [text for text, (owner, attribute) in used.items() if not hasattr(owner, attribute)]
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in used
    ]
    for call in calls:
        owner, attribute = used[ast.unparse(call.func)]
        keywords = {item.arg: item.value for item in call.keywords}
        inspect.signature(getattr(owner, attribute)).bind(*call.args, **keywords)
    assert len([call for call in calls if ast.unparse(call.func).startswith("stages.")]) >= 4


@each
def test_no_name_is_used_before_it_is_there(name):
    """Top to bottom works: what a cell reads was bound in it or above."""
    import builtins

    bound = {*dir(builtins), "get_ipython"}
    for node in python(name).body:
        names = [item for item in ast.walk(node) if isinstance(item, ast.Name)]
        stored = {item.id for item in names if isinstance(item.ctx, ast.Store)}
        stored |= {
            (alias.asname or alias.name).split(".")[0]
            for item in ast.walk(node)
            if isinstance(item, (ast.Import, ast.ImportFrom))
            for alias in item.names
        }
        assert {item.id for item in names if isinstance(item.ctx, ast.Load)} <= bound | stored, (
            ast.unparse(node)
        )
        bound |= stored


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        (
            "finetune",
            [
                "load_rows",
                "cut_vocabulary",
                "report_data",
                "score_base",
                "show_scores",
                "finetune",
                "score_tuned",
                "show_scores",
            ],
        ),
        ("to_tflite", ["load_rows", "validate", "convert", "compare_first_token"]),
        (
            "to_task",
            [
                "load_rows",
                "bundle_task",
                "bundle_litertlm",
                "check_bundles",
                "score_bundles",
                "show_scores",
                "judge",
            ],
        ),
    ],
)
def test_the_stages_in_their_order(name, stages):
    text = "\n".join(source(cell) for cell in code_cells(name))
    assert re.findall(r"\bstages\.(\w+)\(", text) == stages
    if name == "to_task":
        assert text.index("verdict = stages.judge(") < text.index("verdict.require()")


def test_the_install_cell_takes_fgkit_from_a_local_wheel(tmp_path):
    """As in Colab after a click on the badge: no checkout in sight, `google.colab` loaded, pip asked for the wheel."""
    wheel, installed = own_wheel.build(tmp_path / "wheels"), tmp_path / "installed"
    installed.mkdir()
    stub = tmp_path / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "errors.py").write_text("class Error(Exception): pass\n")
    (stub / "userdata.py").write_text(
        "class SecretNotFoundError(Exception): pass\nclass NotebookAccessError(Exception): pass\n"
        "def get(name): raise SecretNotFoundError(name)\n"
    )
    (cell,) = [source(cell) for cell in code_cells("finetune") if "%pip" in source(cell)]
    script = tmp_path / "cell.py"
    script.write_text(
        "import google.colab\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        f"InteractiveShell.instance().run_cell({cell!r}).raise_error()\n"
        "import fgkit\nprint('from', fgkit.__file__)\n"
    )
    environment = {
        key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        env=environment
        | {
            "FGKIT_SOURCE": wheel.as_uri(),
            "PIP_TARGET": str(installed),
            "PIP_NO_DEPS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "stub", installed))),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from {installed / 'fgkit' / '__init__.py'}" in done.stdout
    assert "No secret HF_TOKEN" in done.stdout
    assert sorted(path.name for path in (installed / "fgkit" / "notebooks").glob("*.ipynb")) == [
        "finetune.ipynb",
        "to_task.ipynb",
        "to_tflite.ipynb",
    ]


def test_parameter_files_are_accepted_from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    files = sorted((ROOT / "notebooks" / "params").glob("*.yaml"))
    assert [path.stem for path in files] == [
        "functiongemma_a100",
        "functiongemma_t4",
        "home",
        "offline",
    ]
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    for path in files:
        plans = pipeline.plan(parameters.read_parameters(path))
        assert list(plans) == list(NAMES) and plans["finetune"].output.startswith("run_")
        assert f"run -f notebooks/params/{path.name}" in path.read_text() or path.stem == "home"
        assert f"`params/{path.name}`" in page and "token:" not in path.read_text().lower()


def test_a_typo_in_a_parameter_file_is_refused_with_the_nearest_name(tmp_path, capsys):
    from fgkit.cli import main as command_line

    (tmp_path / "mine.yaml").write_text("output: run\nlearning_rte: 1.0e-5\n")
    assert command_line.main(["run", "-f", str(tmp_path / "mine.yaml")]) == 2
    said = capsys.readouterr().err
    assert "'learning_rte' does not exist" in said and "did you mean 'learning_rate'" in said


def test_the_page_of_the_notebooks_has_their_badges():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        badge = re.search(r"\[!\[Open in Colab\].*?\.ipynb\)", source(notebook(name)["cells"][0]))[
            0
        ]
        assert badge in page
    for picture in re.findall(
        r"\((images/[^)]+)\)", (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    ):
        assert 1_000 < (ROOT / "docs" / picture).stat().st_size < 300_000


PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "notebooks/README.md",
    *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")),
)


def test_every_fgkit_command_of_pages_help_and_parameter_files_parses():
    """What a reader copies is what the command line takes; files it names in the repository are there."""
    from fgkit.cli import main as command_line

    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    texts |= {
        str(path): path.read_text(encoding="utf-8")
        for path in (ROOT / "notebooks/params").glob("*.yaml")
    }
    texts["--help"] = command_line._TOUR
    found = 0
    for page, text in texts.items():
        for command in re.findall(
            r"(?:^|[ `;])(?:\.venv/bin/)?python -m fgkit ([a-z][^`\n;]*)", text, re.M
        ):
            command = re.sub(r"  +.*$|\.\.\.$", "", command.strip().rstrip(".,:)"))
            if " | " in command or len(command.split()) == 1:  # named in prose
                continue
            arguments = [argument.replace("$rate", "1e-5") for argument in shlex.split(command)]
            options = command_line.build_parser().parse_args(arguments)
            assert callable(options.execute), (page, command)
            for argument in arguments:
                if argument.startswith(("notebooks/params/", "data/")):
                    assert (ROOT / argument).exists(), (page, argument)
            found += 1
    assert found >= 30
