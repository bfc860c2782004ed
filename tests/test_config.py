"""config: every problem in one message, the recipes, and parameters that no notebook declares."""

from __future__ import annotations

import ast
import json
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from fgkit import devices
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.notebooks import from_notebook, unknown_parameter
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.errors import ConfigError
from fgkit.locations import shipped
from fgkit.models.spec import FUNCTIONGEMMA, Recipe, base_named

KINDS = {"finetune": FinetuneConfig, "to_tflite": TfliteConfig, "to_task": TaskConfig}


def problems(kind: type, **values: object) -> list[str]:
    """The lines of the one error that these values cause, without the head line that counts them."""
    with pytest.raises(ConfigError) as info:
        kind(**values)
    head, *lines = str(info.value).splitlines()
    assert head == f"{kind.__name__}: {len(lines)} wrong:"
    return [line.strip() for line in lines]


def recipe(*values: object) -> Recipe:
    return Recipe(**dict(zip((item.name for item in fields(Recipe)), values, strict=True)))


# ---- values ----


@pytest.mark.parametrize("kind", KINDS.values())
def test_defaults_are_fine_and_frozen(kind) -> None:
    config = kind()
    assert config.folder == Path.cwd() / "run"
    with pytest.raises(FrozenInstanceError):
        config.seed = 1
    assert len(fields(kind)) > 5
    for item in fields(kind):
        assert item.metadata["help"].endswith("."), item.name


def test_the_guides_table() -> None:
    assert FinetuneConfig().recipe(base_named(FUNCTIONGEMMA).recipe) == recipe(
        3, 1e-5, 4, 8, devices.default_precision()
    )
    config = FinetuneConfig()
    assert (config.max_length, config.lr_scheduler_type, config.warmup_ratio) == (
        1024,
        "cosine",
        0.1,
    )
    assert (TfliteConfig().prefill_seq_len, TfliteConfig().kv_cache_max_len) == (256, 1024)
    assert (TfliteConfig().quantize, TfliteConfig().name) == (
        "dynamic_int8",
        "functiongemma-flutter",
    )
    task = TaskConfig()
    assert (task.profile, task.max_exact_match_loss, task.max_tool_accuracy_loss) == ("", 3.0, 2.0)


def test_a_recipe_takes_what_was_set_and_leaves_the_rest() -> None:
    config = FinetuneConfig(num_train_epochs=1, precision="fp32")
    assert config.recipe(base_named(FUNCTIONGEMMA).recipe) == recipe(1, 1e-5, 4, 8, "fp32")
    assert FinetuneConfig(precision="fp32").recipe(base_named("offline").recipe) == replace(
        base_named("offline").recipe, precision="fp32"
    )
    own = {
        "num_train_epochs": 7,
        "learning_rate": 3e-4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "precision": "bf16",
    }
    assert (
        FinetuneConfig(**own).recipe(base_named("offline").recipe)
        == FinetuneConfig(**own).recipe(base_named(FUNCTIONGEMMA).recipe)
        == Recipe(**own)
    )


def test_all_range_problems_come_together(tmp_path) -> None:
    lines = problems(
        FinetuneConfig,
        num_train_epochs=0,
        learning_rate=1.0,
        per_device_train_batch_size=0,
        gradient_accumulation_steps=-1,
        max_length=1,
        warmup_ratio=1.5,
        lr_scheduler_type="cosin",
        precision="fp16",
        seed=-1,
        data="no.jsonl",
        eval_data=str(tmp_path),
        tools="no.py",
        output="",
    )
    found = [line.split()[0] for line in lines]
    assert sorted(found) == sorted(
        [
            "num_train_epochs",
            "learning_rate",
            "per_device_train_batch_size",
            "max_length",
            "gradient_accumulation_steps",
            "warmup_ratio",
            "lr_scheduler_type",
            "precision",
            "seed",
            "data",
            "eval_data",
            "tools",
            "output",
        ]
    )


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("num_train_epochs", 1, 1000, 0, 1001),
        ("learning_rate", 1e-8, 1e-2, 9e-9, 1.1e-2),
        ("per_device_train_batch_size", 1, 4096, 0, 4097),
        ("gradient_accumulation_steps", 1, 4096, 0, 4097),
        ("max_length", 16, 32768, 15, 32769),
        ("vocab_size", 0, 262_143, -1, 262_144),
        ("warmup_ratio", 0.0, 1.0, -0.1, 1.1),
        ("seed", 0, 2**32 - 1, -1, 2**32),
    ],
)
def test_ends_of_ranges(name, low, high, below, above) -> None:
    for good in (low, high):
        assert getattr(FinetuneConfig(**{name: good}), name) == good
    for bad in (below, above):
        (line,) = problems(FinetuneConfig, **{name: bad})
        assert line.startswith(f"{name} is {bad}, expected {low} to {high}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_learning_rate_that_is_no_number(value) -> None:
    (line,) = problems(FinetuneConfig, learning_rate=value)
    assert line.startswith("learning_rate is")


@pytest.mark.parametrize("precision", ["fp16", "float16"])
def test_fp16_is_refused_with_the_way_out(precision) -> None:
    (line,) = problems(FinetuneConfig, precision=precision)
    assert "overflows" in line and "use bf16" in line and "fp32 on a GPU without bfloat16" in line


def test_a_choice_names_the_nearest() -> None:
    (line,) = problems(FinetuneConfig, lr_scheduler_type="cosin")
    assert "cosine, linear" in line and "did you mean 'cosine'" in line
    (line,) = problems(TfliteConfig, quantize="dynamic_int")
    assert "did you mean 'dynamic_int" in line
    (line,) = problems(TaskConfig, profile="gide")
    assert "did you mean 'guide'" in line
    (line,) = problems(FinetuneConfig, precision="bfloat16")
    assert line.startswith("precision is 'bfloat16', expected one of fp32, bf16, bf16_weights")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("num_train_epochs", "3", "int | None"),
        ("num_train_epochs", 3.0, "int | None"),
        ("num_train_epochs", True, "int | None"),
        ("learning_rate", "1e-5", "float | None"),
        ("max_length", None, "int"),
        ("seed", True, "int"),
        ("base", None, "str"),
        ("warmup_ratio", False, "float"),
        ("output", Path("run"), "str"),
        ("precision", 16, "str | None"),
    ],
)
def test_a_wrong_type_is_explained(name, value, kind) -> None:
    (line,) = problems(FinetuneConfig, **{name: value})
    text = next(item.metadata["help"] for item in fields(FinetuneConfig) if item.name == name)
    assert line == f"{name} is {value!r}, expected {kind}. {text}"


def test_types_come_together_and_before_ranges() -> None:
    lines = problems(FinetuneConfig, learning_rate="1", seed="x", max_length=1)
    assert [line.split()[0] for line in lines] == ["seed", "learning_rate"]
    assert FinetuneConfig(warmup_ratio=0, learning_rate=None).warmup_ratio == 0


def test_conversion_ranges() -> None:
    assert TfliteConfig(kv_cache_max_len=2, prefill_seq_len=1).kv_cache_max_len == 2
    assert problems(TfliteConfig, extra_prefill_seq_len=-1) == [
        "extra_prefill_seq_len is -1, expected 0 or more"
    ]
    assert (
        TfliteConfig().extra_prefill_seq_lens == [32]
        and TfliteConfig(prefill_seq_len=32).extra_prefill_seq_lens == []
    )
    assert problems(TfliteConfig, kv_cache_max_len=256) == [
        "prefill_seq_len is 256, expected 1 to 255"
    ]
    (line,) = problems(TfliteConfig, kv_cache_max_len=32_769)
    assert line == "kv_cache_max_len is 32769, expected 2 to 32768"
    (line,) = problems(TfliteConfig, prefill_seq_len=0)
    assert line == "prefill_seq_len is 0, expected 1 to 1023"


@pytest.mark.parametrize("kind", [TfliteConfig, TaskConfig])
@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", ".x", "-x", "a\n", "\u00e9", "x\x00"])
def test_a_name_that_is_no_file_name(kind, name) -> None:
    (line,) = problems(kind, name=name)
    assert line.startswith(f"name is {name!r}, expected letters")


def test_gate_limits_and_model_folder(tmp_path) -> None:
    lines = problems(
        TaskConfig,
        max_exact_match_loss=-0.1,
        max_tool_accuracy_loss=100.1,
        model=str(tmp_path / "none"),
    )
    assert len(lines) == 3
    assert any(
        "which is not a folder; give the folder that holds model.safetensors" in line
        for line in lines
    )
    assert TaskConfig(max_exact_match_loss=0, max_tool_accuracy_loss=100).max_exact_match_loss == 0
    for kind in (TfliteConfig, TaskConfig):
        assert kind(output=str(tmp_path)).model_folder == tmp_path / "model"
        assert kind(output="x", model=str(tmp_path)).model_folder == tmp_path


def test_an_output_that_is_a_file(tmp_path) -> None:
    (tmp_path / "f").touch()
    (line,) = problems(FinetuneConfig, output=str(tmp_path / "f"))
    assert "which is a file" in line and "give a folder" in line


@pytest.mark.parametrize("path", ["~nobody-has-this-name/x", "x" * 5000, "a\x00b"])
def test_a_path_that_no_disk_has(path) -> None:
    lines = problems(TaskConfig, data=path, eval_data=path, tools=path, model=path)
    assert [line.split()[0] for line in lines] == ["data", "eval_data", "tools", "model"]
    if path.startswith("~"):
        assert "~ for an unknown user" in problems(FinetuneConfig, output=path)[0]


def test_home_is_found(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d.jsonl").touch()
    assert FinetuneConfig(output="~/run", data="~/d.jsonl").folder == tmp_path / "run"


# ---- notebooks ----


def notebook(kind: type, *cells: str, **values: object) -> dict:
    """The globals of a kernel after the parameters cell and these cells; papermill's begins with `# Parameters`."""
    names = {item.name: item.default for item in fields(kind)} | {
        "In": ["", "output = 'run'"],
        "print": print,
    }
    for cell in cells:
        exec(cell, names)
        names["In"].append(cell)
    return names | values


@pytest.mark.parametrize("kind", KINDS.values())
def test_settings_from_a_notebook(kind) -> None:
    assert from_notebook(kind, notebook(kind)) == kind()
    injected = '# Parameters\noutput = "elsewhere"\nseed = 7\n'
    assert from_notebook(kind, notebook(kind, injected)) == kind(output="elsewhere", seed=7)


def test_an_injected_parameter_that_does_not_exist_is_refused() -> None:
    names = notebook(
        FinetuneConfig, '# Parameters\nlearning_rat = 1e-4\nseed = 1\nzzz = {"a": 1}\n'
    )
    with pytest.raises(ConfigError) as info:
        from_notebook(FinetuneConfig, names)
    first, second = str(info.value).splitlines()
    assert (
        first.startswith("parameter 'learning_rat' does not exist")
        and "did you mean 'learning_rate'" in first
    )
    assert second.startswith("parameter 'zzz' does not exist") and "did you mean" not in second
    assert "num_train_epochs, learning_rate" in second


def test_a_parameter_of_another_notebook_may_be_injected() -> None:
    names = notebook(FinetuneConfig, '# Parameters\nprofile = "google"\nseed = 3\n')
    assert from_notebook(FinetuneConfig, names) == FinetuneConfig(seed=3)
    with pytest.raises(ConfigError, match="'profil' does not exist"):
        from_notebook(FinetuneConfig, notebook(FinetuneConfig, '# Parameters\nprofil = "google"\n'))


def test_only_the_injected_cell_is_looked_at() -> None:
    names = notebook(
        FinetuneConfig,
        "learning_rat = 1e-4  # a variable of the user",
        "# Parameters of mine\nx = 1\n",
    )
    assert from_notebook(FinetuneConfig, names) == FinetuneConfig()
    names = notebook(FinetuneConfig, "# Parameters\nseed = 3\nif seed:\n    helper = 1\n")
    assert from_notebook(FinetuneConfig, names).seed == 3


def test_every_injection_of_a_session_is_looked_at() -> None:
    names = notebook(
        FinetuneConfig, "# Parameters\nepochs = 1\n", "x = 1", "# Parameters\nseed = 1\n"
    )
    with pytest.raises(ConfigError, match="'epochs' does not exist"):
        from_notebook(FinetuneConfig, names)


def test_a_line_that_was_deleted_from_the_parameters_cell() -> None:
    names = notebook(FinetuneConfig)
    del names["seed"], names["base"]
    with pytest.raises(ConfigError) as info:
        from_notebook(FinetuneConfig, names)
    assert [line.split()[0] for line in str(info.value).splitlines()] == ["seed", "base"]
    assert "put its line back" in str(info.value)


def test_values_of_a_notebook_are_checked() -> None:
    with pytest.raises(ConfigError, match="precision is 'fp16'"):
        from_notebook(
            FinetuneConfig, notebook(FinetuneConfig, '# Parameters\nprecision = "fp16"\n')
        )


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_shipped_notebooks_hold_these_defaults(name, kind) -> None:
    cells = json.loads(shipped("notebooks", f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    (source,) = [
        "".join(cell["source"])
        for cell in cells
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    declared = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}
    assert declared == {item.name: item.default for item in fields(kind)}


def test_the_message_lists_what_there_is() -> None:
    assert unknown_parameter("nam", ["name", "seed"]) == (
        "parameter 'nam' does not exist, expected one of name, seed; did you mean 'name'?"
    )
