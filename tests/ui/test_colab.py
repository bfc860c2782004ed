"""colab: secrets and Drive as the real `google.colab` behaves, refusals included; elsewhere nothing but checks."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import pytest

from fgkit import checks, files, ownership
from fgkit.errors import FgkitError, PackageError
from fgkit.ui import colab
from fgkit.workflow import doctor

TOKEN = "hf_NobodyMayReadThis123"
# Exceptions as in the real package: two of the three secrets' errors and the front end's are `errors.Error`.
FILES = {
    "__init__.py": "",
    "errors.py": "class Error(Exception):\n    pass\n",
    "userdata.py": (
        "from google.colab import errors\n\n\nclass SecretNotFoundError(errors.Error):\n    pass\n\n\n"
        "class NotebookAccessError(Exception):\n    pass\n\n\n"
        "class TimeoutException(errors.Error):\n    pass\n\n\n"
        "def get(key):\n    return answer(key)\n"
    ),
    "files.py": "import os\n\n\ndef download(filename):\n    if not os.path.exists(filename):\n"
    "        raise FileNotFoundError(f'Cannot find file: {filename}')\n    answer(filename)\n",
    "drive.py": "def mount(mountpoint, force_remount=False):\n    answer(mountpoint)\n",
}


@pytest.fixture
def google(tmp_path, monkeypatch):
    """A stand-in for Colab's package: set `userdata.answer` and `drive.answer` to what they return or raise."""
    folder = tmp_path / "stand-in" / "google" / "colab"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "stand-in"))
    yield types.SimpleNamespace(
        **{
            name: importlib.import_module(f"google.colab.{name}")
            for name in ("errors", "userdata", "drive", "files")
        }
    )
    for name in [name for name in sys.modules if name.startswith("google.colab")]:
        del sys.modules[name]
    vars(sys.modules["google"]).pop("colab", None)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(colab, "stale_packages", lambda: [])
    monkeypatch.setattr(doctor, "check_environment", lambda step: [])


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "my-run"
    for name in (
        "summary.json",
        "model/model.safetensors",
        "checkpoints/step-1/x",
        ".a.1.part",
        ".lock",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def raising(error: BaseException):
    def answer(*args: object) -> None:
        raise error

    return answer


# ---- elsewhere ----


def test_elsewhere_nothing_is_done(run, capsys) -> None:
    assert not colab.in_colab()
    assert (
        colab.keep(run) is None
        and colab.fetch(run) is None
        and not colab.download(run / "summary.json")
    )
    colab.prepare("finetune")
    assert "HF_TOKEN" not in os.environ and capsys.readouterr() == ("", "")


def test_in_colab(google) -> None:
    assert colab.in_colab()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB: bf16, with memory for any number of rows"),
        ("NVIDIA L4", "NVIDIA L4: bf16; 22 GB"),
        ("Tesla T4", "Tesla T4: no bfloat16, so fp32, never fp16"),
        ("NVIDIA H100", "H100: precision and batch are chosen"),
        ("", "CPU runtime: no GPU: .*Change runtime type"),
    ],
)
def test_what_the_runtime_type_means(monkeypatch, name, says) -> None:
    import re

    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(name))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    assert re.search(says, colab.runtime())


# ---- packages ----


def test_wrong_packages_are_listed_with_their_remedy(monkeypatch) -> None:
    monkeypatch.setattr(
        doctor,
        "check_environment",
        lambda step: [
            checks.Check(1, "trl", "fail", "found nothing, expected >=1.", 'pip install "trl>=1"'),
            checks.Check(2, "torch", "pass", "found 2.", 'pip install "torch"'),
            checks.Check(3, "litert", "fail", "found 1, expected >=2.", 'pip install "litert>=2"'),
            checks.Check(4, "memory", "fail", "2 GB.", "Use a bigger machine."),
        ],
    )
    with pytest.raises(PackageError) as info:
        colab.prepare("finetune")
    assert str(info.value).splitlines() == [
        "2 packages are not what finetune needs:",
        '  trl: found nothing, expected >=1. pip install "trl>=1"',
        '  litert: found 1, expected >=2. pip install "litert>=2"',
    ]


def test_a_package_that_is_older_in_memory_wants_a_restart(monkeypatch, google) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "check_environment", lambda step: [])
    assert colab.stale_packages() == []
    import numpy

    monkeypatch.setattr(numpy, "__version__", "1.0.0")
    assert colab.stale_packages() == ["numpy 1.0.0"]
    with pytest.raises(PackageError, match=r"already loaded: numpy 1\.0\.0\. .*Restart session"):
        colab.prepare("finetune")


# ---- the token ----


def test_the_token_of_the_secrets(google, capsys) -> None:
    asked: list[str] = []
    google.userdata.answer = lambda key: asked.append(key) or TOKEN
    try:
        colab.prepare("finetune")
        assert os.environ["HF_TOKEN"] == TOKEN and asked == ["HF_TOKEN"]
        colab.prepare("finetune")
        assert asked == ["HF_TOKEN"], "an environment that has a token is not asked about"
        assert TOKEN not in "".join(capsys.readouterr())
    finally:
        os.environ.pop("HF_TOKEN", None)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("SecretNotFoundError", "No secret HF_TOKEN: the offline base will be used"),
        ("NotebookAccessError", "this notebook may not read it. Switch its access on"),
        (
            "TimeoutException",
            "could not be read: from the test Set HF_TOKEN in the notebook's environment",
        ),
    ],
)
def test_without_a_readable_secret_it_goes_on_and_says_so(google, capsys, kind, says) -> None:
    google.userdata.answer = raising(getattr(google.userdata, kind)("from the test"))
    colab.prepare("finetune")
    assert "HF_TOKEN" not in os.environ and says in capsys.readouterr().out


# ---- Drive ----


def test_results_are_copied_to_drive(google, run, capsys) -> None:
    target = colab.DRIVE / "MyDrive" / "fgkit" / "my-run"
    google.drive.answer = lambda mountpoint: Path(mountpoint, "MyDrive").mkdir(parents=True)
    assert colab.keep(run) == target
    copied = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert (
        copied == [ownership.RECORD, "model/model.safetensors", "summary.json"]
        and str(target) in capsys.readouterr().out
    )
    (run / "summary.json").write_text("newer", encoding="utf-8")
    google.drive.answer = raising(AssertionError("mounted twice"))
    assert (
        colab.keep(run) == target
        and (target / "summary.json").read_text(encoding="utf-8") == "newer"
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mount failed"),
        RuntimeError("x"),
        NotImplementedError("Mounting is unsupported"),
        OSError("Transport endpoint is not connected"),
        "message",
    ],
)
def test_a_refused_drive_leaves_the_results_where_they_are(google, run, capsys, error) -> None:
    if error == "message":  # what the front end's refusal raises
        error = google.errors.Error("Error: credential propagation was unsuccessful")
    google.drive.answer = raising(error)
    assert colab.keep(run) is None
    said = capsys.readouterr().out
    assert (
        f"Drive was not connected: {error}" in said
        and "vanish with it" in said
        and "connect Drive" in said
    )
    assert (run / "summary.json").exists()


def test_a_mount_without_its_folder_is_no_drive(google, run, capsys) -> None:
    google.drive.answer = lambda mountpoint: Path(mountpoint).mkdir()
    assert colab.keep(run) is None and "not connected" in capsys.readouterr().out
    assert list(colab.DRIVE.iterdir()) == []


def test_a_full_drive(google, run, monkeypatch) -> None:
    (colab.DRIVE / "MyDrive").mkdir(parents=True)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(
        FgkitError, match="Google Drive failed: .*No space left.*Free space on Drive"
    ) as info:
        colab.keep(run)
    assert str(run) in str(info.value)


def test_a_drive_that_is_no_folder(google, run) -> None:
    (colab.DRIVE / "MyDrive").mkdir(parents=True)
    (colab.DRIVE / "MyDrive" / "fgkit").touch()
    with pytest.raises(FgkitError, match="copying to Google Drive failed"):
        colab.keep(run)


def test_a_quota_is_one_message(google, run, monkeypatch) -> None:
    (colab.DRIVE / "MyDrive").mkdir(parents=True)

    def over_quota(*args: object, **kwargs: object) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr("shutil.copytree", over_quota)
    with pytest.raises(FgkitError, match="Disk quota exceeded.*Free space on Drive"):
        colab.keep(run)


def test_a_new_machine_gets_the_run_back(google, run, capsys) -> None:
    google.drive.answer = lambda mountpoint: Path(mountpoint, "MyDrive").mkdir(parents=True)
    colab.keep(run)
    new = run.parent / "machine" / "my-run"
    assert colab.fetch(new) == colab.DRIVE / "MyDrive" / "fgkit" / "my-run"
    assert (
        new / "model/model.safetensors"
    ).is_file() and "copied from Google Drive" in capsys.readouterr().out
    (new / "summary.json").write_text("newer", encoding="utf-8")
    assert (
        colab.fetch(new) is None and (new / "summary.json").read_text(encoding="utf-8") == "newer"
    )
    assert colab.fetch(run.parent / "never-run") is None
    assert "is not on Drive. Run the notebook before this one" in capsys.readouterr().out


def test_somebodys_file_on_drive_is_named_and_nothing_is_copied(google, run) -> None:
    target = colab.DRIVE / "MyDrive" / "fgkit" / "my-run"
    (target / "model").mkdir(parents=True)
    for name in ("summary.json", "model/model.safetensors", "model/thesis.txt"):
        (target / name).write_text("mine", encoding="utf-8")
    with pytest.raises(FgkitError) as info:
        colab.keep(run)
    named = [line for line in str(info.value).splitlines() if "was not written by fgkit" in line]
    assert len(named) == 2 and str(run) in str(info.value).splitlines()[-1]
    for name in ("summary.json", "model/model.safetensors", "model/thesis.txt"):
        assert (target / name).read_text(encoding="utf-8") == "mine"


def test_somebodys_file_is_not_replaced_by_what_is_fetched(google, run) -> None:
    (colab.DRIVE / "MyDrive").mkdir(parents=True)
    colab.keep(run)
    new = run.parent / "machine" / "my-run"
    new.mkdir(parents=True)
    (new / "summary.json").write_text("mine", encoding="utf-8")
    with pytest.raises(FgkitError, match="summary.json: was not written by fgkit"):
        colab.fetch(new)
    assert (new / "summary.json").read_text(encoding="utf-8") == "mine"
    assert not (new / "model").exists()
    (new / "summary.json").unlink()
    assert colab.fetch(new)
    # What was fetched is fgkit's: the next stage may replace it, and Drive takes it back.
    files.write_text(new / "summary.json", "newer")
    assert colab.keep(new) and (new / "model/model.safetensors").is_file()


def test_without_drive_nothing_is_fetched(google, run, capsys) -> None:
    google.drive.answer = raising(ValueError("mount failed"))
    assert (
        colab.fetch(run.parent / "new") is None
        and "Drive was not connected" in capsys.readouterr().out
    )


# ---- download ----


def test_a_file_is_offered_to_the_browser(google, run, capsys) -> None:
    assert (
        not colab.download(run / "missing.task")
        and "could not be offered missing.task" in capsys.readouterr().out
    )
    asked: list[str] = []
    google.files.answer = asked.append
    assert colab.download(run / "summary.json") and asked == [str(run / "summary.json")]
    google.files.answer = raising(AttributeError("'NoneType' object has no attribute 'kernel'"))
    assert (
        not colab.download(run / "summary.json")
        and str(run / "summary.json") in capsys.readouterr().out
    )
