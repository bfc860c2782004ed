"""`run` over the notebooks: parameters, skipping, errors out of a kernel, and one tiny training end to end."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from pathlib import Path

import nbformat
import pytest
import tiny

from fgkit import atomic_files, files
from fgkit.cli import main as command_line
from fgkit.errors import CheckFailed, ConfigError, FgkitError, PackageError
from fgkit.evaluation import scores as evaluation
from fgkit.files import read_json
from fgkit.locations import shipped
from fgkit.workflow import locks, manifest, recording, run as pipeline, summary

ALL = ["finetune", "to_tflite", "to_task"]
SCORE = {"n": 1, "tool_accuracy": 1.0, "exact_match": 1.0}


# ---- parameters


def test_plan_sends_a_value_to_every_notebook_that_declares_it(tmp_path):
    plans = pipeline.plan(
        {
            "output": str(tmp_path),
            "seed": 7,
            "name": "mine",
            "learning_rate": 2e-5,
            "profile": "google",
        }
    )
    assert list(plans) == ALL
    assert [plans[name].seed for name in ALL] == [7, 7, 7]
    assert [plans[name].folder for name in ALL] == [tmp_path] * 3
    assert (plans["to_tflite"].name, plans["to_task"].name) == ("mine", "mine")
    assert plans["finetune"].learning_rate == 2e-5 and plans["to_task"].profile == "google"
    assert (
        plans["finetune"].num_train_epochs is None and plans["to_tflite"].quantize == "dynamic_int8"
    )


@pytest.fixture
def nothing_runs(monkeypatch):
    def execute(*_):
        pytest.fail("a notebook was executed")

    monkeypatch.setattr(pipeline, "_execute", execute)


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [
        ("learning_rat", "learning_rate"),
        ("kv_cache_max", "kv_cache_max_len"),
        ("profil", "profile"),
    ],
)
def test_an_undeclared_parameter_is_refused_with_the_nearest_name(
    tmp_path, nothing_runs, misspelt, nearest
):
    with pytest.raises(ConfigError) as caught:
        pipeline.run({"output": str(tmp_path / "out"), misspelt: 1})
    first, hint = str(caught.value).split("; did you mean ")
    assert first.startswith(f"parameter '{misspelt}' does not exist") and hint.startswith(
        f"'{nearest}'"
    )
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_all_wrong_values_of_all_notebooks_come_at_once(tmp_path, nothing_runs):
    with pytest.raises(ConfigError) as caught:
        pipeline.run(
            {
                "output": str(tmp_path / "out"),
                "max_length": "long",
                "prefill_seq_len": 5000,
                "profile": "gogle",
                "seed": -1,
                "outptu": "x",
            }
        )
    message = str(caught.value)
    for part in (
        "'outptu' does not exist",
        "max_length is 'long'",
        "prefill_seq_len is 5000",
        "profile is 'gogle'",
        "did you mean 'google'",
        "seed is -1",
    ):
        assert part in message
    assert message.count("seed is -1") == 1
    assert not (tmp_path / "out").exists()


def test_data_files_that_are_not_there_are_named_before_anything_runs(tmp_path, nothing_runs):
    with pytest.raises(ConfigError) as caught:
        pipeline.run(
            {
                "output": str(tmp_path / "out"),
                "data": "no.jsonl",
                "eval_data": "none.jsonl",
                "tools": "no.py",
            }
        )
    assert all(
        str(caught.value).count(f"{key} is '{value}'") == 1
        for key, value in (("data", "no.jsonl"), ("eval_data", "none.jsonl"), ("tools", "no.py"))
    )


def test_with_a_model_the_parameters_of_training_are_unknown(tmp_path, nothing_runs):
    with pytest.raises(ConfigError, match="parameter 'num_train_epochs' does not exist"):
        pipeline.run(
            {"output": str(tmp_path / "out"), "model": str(tmp_path), "num_train_epochs": 1}
        )


# ---- skipping


class Fake:
    """Stands in for the kernel: notes what was executed with which values, and leaves what that notebook leaves."""

    def __init__(self):
        self.ran, self.values, self.fails = [], {}, None

    def __call__(self, name, folder, values):
        self.ran.append(name)
        self.values[name] = values
        settings = pipeline.NOTEBOOKS[name](**values)
        with contextlib.ExitStack() as steps:
            for step in manifest.STEPS[name][:-1]:
                with recording.recorded(settings, step):
                    pass
            steps.enter_context(recording.recorded(settings, manifest.STEPS[name][-1]))
            if name == self.fails:
                raise CheckFailed("the gate")
            self.write(name, folder, values)

    def write(self, name, folder, values):
        model = Path(values.get("model") or folder / "model")
        if name == "finetune":
            atomic_files.remove(folder / summary.NAME)
            files.write_text(
                model / "model.safetensors", f"{values['seed']} {values['learning_rate']}"
            )
            files.write_text(model / "fgkit.json", "{}")
            summary.update(folder, base=SCORE, tuned=SCORE)
        elif name == "to_tflite":
            path = folder / f"{values['name']}_q8_ekv{values['kv_cache_max_len']}.tflite"
            files.write_text(path, (model / "model.safetensors").read_text())
            files.write_text(f"{path}.json", "{}")
        else:
            (source,) = folder.glob(f"{values['name']}_*.tflite")
            bundle = folder / f"{values['name']}.task"
            files.write_text(bundle, source.read_text() + values["profile"])
            files.write_text(f"{bundle}.json", "{}")
            summary.update(folder, task=SCORE, gate={"passed": True, "lines": []})

    def again(self):
        """What ran since the last call."""
        ran, self.ran = self.ran, []
        return ran


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(pipeline, "_execute", found := Fake())
    monkeypatch.setattr(manifest, "_has_token", lambda: False)
    return found


@pytest.fixture
def asked(tmp_path):
    """Parameters of a run with files of its own."""
    found = {}
    for key, name in (
        ("data", "training_data.jsonl"),
        ("eval_data", "eval_data.jsonl"),
        ("tools", "tools.py"),
    ):
        found[key] = str(tmp_path / name)
        (tmp_path / name).write_bytes(shipped("data", name).read_bytes())
    return {"output": str(tmp_path / "out"), "base": "offline", **found}


def test_done_stages_are_skipped(fake, asked, capsys):
    out = Path(asked["output"])
    first = pipeline.run(asked)
    assert fake.again() == ALL
    assert set(first["seconds"]) == set(ALL) and first["task"] == SCORE
    second = pipeline.run(asked)
    assert fake.again() == [] and second == first
    printed = capsys.readouterr().out
    assert [
        f"[{number}/3] {name}: already done for the same inputs, skipped" in printed
        for number, name in enumerate(ALL, 1)
    ] == [True] * 3
    recorded = [
        path for entry in read_json(out / manifest.NAME).values() for path in entry["outputs"]
    ]
    assert sorted(recorded) == [
        "functiongemma-flutter.task",
        "functiongemma-flutter.task.json",
        "functiongemma-flutter_q8_ekv1024.tflite",
        "functiongemma-flutter_q8_ekv1024.tflite.json",
        "model/fgkit.json",
        "model/model.safetensors",
    ]


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        ({"seed": 1}, ALL),
        ({"learning_rate": 2e-5}, ALL),
        ({"base": ""}, ALL),
        ({"kv_cache_max_len": 2048}, ALL[1:]),
        ({"name": "other"}, ALL[1:]),
        ({"profile": "google"}, ALL[2:]),
        ({"max_exact_match_loss": 5.0}, ALL[2:]),
    ],
)
def test_a_changed_parameter_runs_what_depends_on_it(fake, asked, change, reruns):
    pipeline.run(asked)
    fake.again()
    pipeline.run(asked | change)
    assert fake.again() == reruns
    pipeline.run(asked | change)
    assert fake.again() == []
    out = Path(asked["output"])
    assert len(list(out.glob("*.task"))) == len(list(out.glob("*.tflite"))) == 1


@pytest.mark.parametrize("key", ["data", "eval_data", "tools"])
def test_a_changed_file_of_the_same_name_runs_everything(fake, asked, key):
    pipeline.run(asked)
    fake.again()
    with open(asked[key], "a", encoding="utf-8") as handle:
        handle.write("\n")
    pipeline.run(asked)
    assert fake.again() == ALL


OUTPUTS = pytest.mark.parametrize(
    ("output", "reruns"),
    [
        ("functiongemma-flutter.task", ALL[2:]),
        ("functiongemma-flutter.task.json", ALL[2:]),
        ("functiongemma-flutter_q8_ekv1024.tflite", ALL[1:]),
        ("model/fgkit.json", ALL),
        ("model/model.safetensors", ALL),
    ],
)


@OUTPUTS
def test_a_missing_output_is_made_again(fake, asked, output, reruns):
    whole = pipeline.run(asked)
    fake.again()
    path = Path(asked["output"], output)
    before = path.read_text()
    path.unlink()
    result = pipeline.run(asked)
    assert fake.again() == reruns and path.read_text() == before
    assert all(result[name] == whole[name] for name in ("base", "tuned", "task", "gate"))
    pipeline.run(asked)
    assert fake.again() == []


@OUTPUTS
def test_a_changed_output_is_named_and_stays_until_it_is_moved_away(
    fake, asked, tmp_path, output, reruns
):
    pipeline.run(asked)
    fake.again()
    path = Path(asked["output"], output)
    before = path.read_text()
    path.write_text(before[:-1])
    everything = contents(asked["output"])
    with pytest.raises(FgkitError) as caught:
        pipeline.run(asked)
    assert str(caught.value).splitlines() == [
        f"{path}: was changed since fgkit wrote it",
        "Nothing was changed. Choose another place, or move these files away.",
    ]
    assert fake.again() == [] and contents(asked["output"]) == everything
    path.rename(tmp_path / "moved away")
    pipeline.run(asked)
    assert fake.again() == reruns and path.read_text() == before
    pipeline.run(asked)
    assert fake.again() == []


@pytest.mark.parametrize("name", [summary.NAME, manifest.NAME])
def test_a_changed_record_of_the_run_is_one_message(fake, asked, name):
    pipeline.run(asked)
    fake.again()
    path = Path(asked["output"], name)
    path.write_text("{")
    with pytest.raises(FgkitError) as caught:
        pipeline.run(asked)
    assert str(caught.value).startswith(f"{path}: was changed since fgkit wrote it\nNothing was")
    assert fake.again() == [] and path.read_text() == "{"
    path.unlink()
    pipeline.run(asked)
    assert fake.again() == ALL


def contents(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_lost_scores_are_measured_again(fake, asked):
    whole = pipeline.run(asked)
    fake.again()
    Path(asked["output"], summary.NAME).unlink()
    result = pipeline.run(asked)
    assert fake.again() == ALL
    assert all(result[name] == whole[name] for name in ("base", "tuned", "task", "gate"))


def test_a_stage_that_failed_runs_again_and_what_was_done_stays(fake, asked):
    fake.fails = "to_task"
    with pytest.raises(CheckFailed, match="the gate"):
        pipeline.run(asked)
    assert fake.again() == ALL
    fake.fails = None
    pipeline.run(asked)
    assert fake.again() == ["to_task"]


def test_a_bundle_stays_until_its_successor_is_whole(fake, asked):
    pipeline.run(asked)
    old = Path(asked["output"]) / "functiongemma-flutter.task"
    content, fake.fails = old.read_text(), "to_task"
    with pytest.raises(CheckFailed):
        pipeline.run(asked | {"profile": "google", "name": "renamed"})
    assert old.read_text() == content
    fake.fails = None
    pipeline.run(asked | {"profile": "google", "name": "renamed"})
    assert [path.name for path in old.parent.glob("*.task")] == ["renamed.task"]


def test_new_code_of_fgkit_runs_everything(fake, asked, monkeypatch):
    pipeline.run(asked)
    fake.again()
    monkeypatch.setattr(summary, "versions", lambda: {"torch": "0"})
    pipeline.run(asked)
    assert fake.again() == ALL


def test_a_stage_that_left_nothing_is_not_done(fake, asked, monkeypatch):
    monkeypatch.setattr(pipeline, "_execute", lambda name, folder, values: fake.ran.append(name))
    pipeline.run(asked)
    pipeline.run(asked)
    assert fake.again() == ALL * 2


def test_files_of_the_user_in_the_output_folder_stay(fake, asked):
    out = Path(asked["output"])
    out.mkdir()
    mine = [
        out / name
        for name in (
            "mine.tflite",
            "functiongemma-flutter-old.task",
            "functiongemma-flutter.tflite",
        )
    ]
    for path in mine:
        path.write_text("mine")
    pipeline.run(asked)
    pipeline.run(asked | {"profile": "google", "kv_cache_max_len": 512})
    assert [path.read_text() for path in mine] == ["mine"] * 3


def test_a_second_run_in_the_same_folder_is_refused(fake, asked):
    with locks.only_run(Path(asked["output"])):
        with pytest.raises(
            FgkitError,
            match="another run or notebook is writing here. Wait for it, or choose another",
        ):
            pipeline.run(asked)
    assert fake.again() == []
    pipeline.run(asked)
    assert fake.again() == ALL


def test_an_output_folder_that_cannot_be_made_is_one_message(fake, asked, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FgkitError, match="file/out: cannot be written: .*Choose another --output"):
        pipeline.run(asked | {"output": str(tmp_path / "file" / "out")})
    assert fake.again() == []


def test_kernels_get_absolute_paths_and_every_setting(fake, asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tiny_base = tmp_path / "base"
    tiny_base.mkdir()
    pipeline.run(
        {key: Path(value).name for key, value in asked.items() if key != "base"}
        | {"base": "base", "seed": 3}
    )
    for name in ALL:
        values = fake.values[name]
        assert set(values) == set(pipeline.declared_parameters(name)) and values["seed"] == 3
        assert {key: values[key] for key in ("output", "data", "eval_data", "tools")} == {
            key: asked[key] for key in ("output", "data", "eval_data", "tools")
        }
    assert fake.values["finetune"]["base"] == str(tiny_base)
    pipeline.run(asked)  # a name stays a name
    assert fake.values["finetune"]["base"] == "offline"


def test_a_model_tuned_elsewhere_starts_at_to_tflite_and_has_no_base_score(fake, asked, tmp_path):
    pipeline.run(asked)
    fake.again()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.safetensors").write_text("other weights")
    with_model = {key: value for key, value in asked.items() if key != "base"} | {
        "model": str(elsewhere)
    }
    result = pipeline.run(with_model)
    assert fake.again() == ["to_tflite", "to_task"]
    assert fake.values["to_task"]["model"] == str(elsewhere)
    assert result["base"] is None and result["task"] == SCORE
    pipeline.run(with_model)
    assert fake.again() == []
    assert (
        pipeline.run(asked)["base"] == SCORE
    )  # the base is scored again with the training it belongs to
    assert fake.again() == ALL


def test_the_runs_own_model_keeps_its_base_score(fake, asked):
    pipeline.run(asked)
    own = {key: value for key, value in asked.items() if key != "base"} | {
        "model": str(Path(asked["output"], "model"))
    }
    assert pipeline.run(own)["base"] == SCORE


# ---- what comes back from a kernel


def failing_notebook(folder: Path, code: str) -> Path:
    path = folder / "source.ipynb"
    cells = [
        nbformat.v4.new_code_cell("output = 'run'", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """Execute code in a notebook as the pipeline does; returns the output folder."""

    def run(code: str) -> Path:
        path = failing_notebook(tmp_path, code)
        monkeypatch.setattr(pipeline, "notebook_path", lambda name: path)
        (tmp_path / "out").mkdir()
        pipeline._execute("finetune", tmp_path / "out", {"output": "elsewhere"})
        return tmp_path / "out"

    return run


@pytest.mark.parametrize(
    ("raised", "kind", "exactly"),
    [
        (
            "raise errors.DataError('my.jsonl:7: no\\nmy.jsonl:9: no')",
            FgkitError,
            "my.jsonl:7: no\nmy.jsonl:9: no\n",
        ),
        (
            "raise errors.CheckFailed('gate FAILED on 3 rows')",
            CheckFailed,
            "gate FAILED on 3 rows\n",
        ),
        (
            "raise ZeroDivisionError('by ' + output)",
            FgkitError,
            "failed with ZeroDivisionError: by elsewhere\n",
        ),
    ],
)
def test_errors_of_a_kernel_come_back_and_the_notebook_stays(
    execute, tmp_path, raised, kind, exactly
):
    with pytest.raises(FgkitError) as caught:
        execute(f"from fgkit import errors\nprint('so far')\n{raised}")
    executed = tmp_path / "out" / "finetune.ipynb"
    assert type(caught.value) is kind
    assert exactly in f"{caught.value}\n" and str(executed) in str(caught.value)
    cells = nbformat.read(executed, 4).cells
    assert any(
        "so far" in output.get("text", "") for cell in cells for output in cell.get("outputs", [])
    )
    assert any(
        output.output_type == "error" for cell in cells for output in cell.get("outputs", [])
    )


def test_the_executed_notebook_is_whole_at_every_moment(execute):
    out = execute("import os\nos.link('finetune.ipynb', 'kept.ipynb')\nprint('later')")
    kept, final = (nbformat.read(out / name, 4) for name in ("kept.ipynb", "finetune.ipynb"))
    assert "later" in str(final) and "later" not in str(
        kept.cells[-1].outputs
    )  # replaced, not written over


def test_a_killed_kernel_is_one_message(execute, tmp_path):
    with pytest.raises(FgkitError, match="killed it, most likely for lack of memory") as caught:
        execute("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert str(tmp_path / "out" / "finetune.ipynb") in str(caught.value)


def test_the_kernel_is_this_interpreter_with_this_fgkit(execute, tmp_path, monkeypatch, capfd):
    """Also where another kernel has the same name, fgkit is not installed and the working folder is another."""
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "wrong").write_text("#!/bin/sh\nexit 3\n")
    (other / "wrong").chmod(stat.S_IRWXU)
    (other / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [str(other / "wrong"), "{connection_file}"],
                "display_name": "Python 3",
                "language": "python",
            }
        )
    )
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    out = execute(
        "import json, os, sys, fgkit\nfrom fgkit import progress\nprogress.note('seen in the terminal')\n"
        "with open('seen.json', 'w') as handle:\n"
        "    json.dump([sys.executable, fgkit.__file__, os.getcwd(), output], handle)"
    )
    executable, package, folder, output = read_json(out / "seen.json")
    assert os.path.realpath(executable) == os.path.realpath(sys.executable)
    assert (Path(package).parent, folder, output) == (
        Path(pipeline.__file__).parents[1],
        str(out),
        "elsewhere",
    )
    assert os.environ["JUPYTER_PREFER_ENV_PATH"] == "0" and "PYTHONPATH" not in os.environ
    assert "seen in the terminal" in capfd.readouterr().err


def test_missing_packages_are_named_with_the_command(monkeypatch, tmp_path):
    find_spec = pipeline.importlib.util.find_spec
    monkeypatch.setattr(
        pipeline.importlib.util,
        "find_spec",
        lambda name: None if name == "papermill" else find_spec(name),
    )
    with pytest.raises(
        PackageError, match="`run` needs papermill. Install: pip install -r requirements/all.txt"
    ):
        pipeline._execute("finetune", tmp_path, {})
    assert list(tmp_path.iterdir()) == []


# ---- the real notebook


def test_papermill_itself_is_refused_an_undeclared_parameter(monkeypatch, tmp_path):
    import papermill
    from papermill.exceptions import PapermillExecutionError

    monkeypatch.setenv("PYTHONPATH", str(Path(pipeline.__file__).parents[2]))
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(pipeline.notebook_path("finetune")),
            str(tmp_path / "executed.ipynb"),
            cwd=str(tmp_path),
            parameters={
                "learning_rat": 1,
                "output": str(tmp_path / "out"),
                "base": "/no/such/base",
            },
            progress_bar=False,
        )
    assert caught.value.ename == "ConfigError"
    assert "'learning_rat' does not exist" in caught.value.evalue
    assert "did you mean 'learning_rate'" in caught.value.evalue
    assert (tmp_path / "executed.ipynb").is_file() and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The finetune notebook under papermill: the tiny model, twelve rows of the shipped data, one epoch."""
    folder = tmp_path_factory.mktemp("end-to-end")
    rows = (
        shipped("data", "training_data.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    )
    held_out = (
        shipped("data", "eval_data.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    )
    (folder / "rows.jsonl").write_text("".join(rows[:: len(rows) // 12][:12]), encoding="utf-8")
    (folder / "eval.jsonl").write_text("".join(held_out[:3]), encoding="utf-8")
    base = tiny.model_folder(folder / "base")
    settings = pipeline.plan(
        {
            "output": str(folder / "out"),
            "base": str(base),
            "data": str(folder / "rows.jsonl"),
            "eval_data": str(folder / "eval.jsonl"),
            "num_train_epochs": 1,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "precision": "fp32",
            "max_length": 2048,
        },
        ["finetune"],
    )["finetune"]
    settings.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        tiny.known(patch)
        patch.setenv(
            "OMP_NUM_THREADS", "1"
        )  # threads only get in each other's way in a network this small
        pipeline._execute("finetune", settings.folder, pipeline._values(settings))
    return folder


@pytest.mark.slow
def test_finetune_end_to_end(trained):
    out = trained / "out"
    assert {path.name for path in (out / "model").iterdir()} == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "NOTICE-GEMMA.txt",
        "fgkit.json",
        "SHA256SUMS",
    }
    assert (out / "model/model.safetensors").read_bytes() != (
        trained / "base/model.safetensors"
    ).read_bytes()
    assert read_json(out / "model/generation_config.json")["eos_token_id"] == [1, 50, 106]
    found = summary.read(out)
    assert found["base"]["n"] == found["tuned"]["n"] == 3 and found["task"] is None
    assert found["base"]["sha256"] != found["tuned"]["sha256"]
    assert found["files"]["model/model.safetensors"]["sha256"] == found["tuned"]["sha256"]
    assert found["settings"]["finetune"]["learning_rate"] == 1e-3
    record = read_json(out / "model/fgkit.json")
    assert {
        "base",
        "style",
        "tools",
        "tools_hash",
        "system_message",
        "settings",
        "versions",
        "modifications",
    } <= set(record)
    assert record["base"] == str(trained / "base") and record["rows"] == 12
    for key in ("loss", "eval_loss"):
        assert [entry for entry in record["log"] if key in entry]
    for name in ("loss.png", "scores.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert not [path for path in (out / "checkpoints").rglob("*") if path.is_file()]
    assert not list(out.rglob("*.part"))
    assert (
        manifest.read(out)["finetune"]["state"] == "done"
    )  # written by the steps in the kernel, not by `run`
    assert list(manifest.read(out)["finetune"]["steps"]) == list(manifest.STEPS["finetune"])


@pytest.mark.slow
def test_the_executed_notebook_shows_scores_and_curve_and_no_error(trained):
    cells = nbformat.read(trained / "out" / "finetune.ipynb", 4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("data", {}) for output in outputs]
    text = "".join(output.get("text", "") for output in outputs) + "".join(
        data.get("text/markdown", "") + data["text/plain"] * ("text/html" in data)
        for data in shown
        if "text/plain" in data
    )
    assert "| exact match " in text and "change_background_color" in text and "12 " in text
    assert (
        sum("image/png" in output.get("data", {}) for output in outputs) == 6
    )  # the data, the loss, scores and confusions twice
    assert not [output for output in outputs if output.output_type == "error"]
    assert (
        "expected: " in text and "loaded in a fresh process: 3 of 3 answers" in text
    )  # what stands for the panels
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds <= {"image/png", "text/markdown", "text/html", "text/plain"}, (
        "widgets leave nothing to read in a file"
    )
    assert all(
        "text/plain" in output.data for output in outputs if "text/html" in output.get("data", {})
    )
    assert "it/s" not in text and "hf_" not in text


@pytest.mark.slow
def test_evaluate_writes_what_the_design_names(trained, tmp_path, capsys):
    arguments = [
        "evaluate",
        str(trained / "out/model"),
        "--data",
        str(trained / "eval.jsonl"),
        "--json",
        str(tmp_path / "out.json"),
    ]
    assert command_line.main(arguments) == 0
    score = read_json(tmp_path / "out.json")
    assert score["n"] == 3
    assert all(0 <= score[key] <= 1 for key in ("parse_rate", "tool_accuracy", "exact_match"))
    assert sum(each["n"] for each in score["per_tool"].values()) == 3
    assert all(
        set(each) == {"n", "groups", "intervals", *evaluation.METRICS}
        for each in score["per_tool"].values()
    )
    tuned = summary.read(trained / "out")["tuned"]
    assert score == tuned  # the summary's object is the one that `evaluate` writes
    assert "exact match" in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_refuses_other_tools_than_the_trained_ones(trained, tmp_path, capsys):
    (tmp_path / "tools.py").write_text(
        'def stop(reason: str):\n    """Stop.\n\n    Args:\n        reason: Why.\n    """\n'
    )
    (tmp_path / "rows.jsonl").write_text(
        json.dumps(
            {"user_content": "halt", "tool_name": "stop", "tool_arguments": '{"reason": "x"}'}
        )
    )
    assert (
        command_line.main(
            [
                "evaluate",
                str(trained / "out/model"),
                "--data",
                str(tmp_path / "rows.jsonl"),
                "--tools",
                str(tmp_path / "tools.py"),
            ]
        )
        == 2
    )
    assert "was trained with other tools than these" in capsys.readouterr().err
