"""runtime: a tiny converted network in a real bundle, run in the real LiteRT-LM, compared with the bare `.tflite`."""

from __future__ import annotations

import numpy as np
import pytest
import sentencepiece

from fgkit.bundles import create as bundle
from fgkit.errors import BundleError
from fgkit.export import first_token
from fgkit.runtime import session as runtime
from tests.bundles.test_create import tiny_tokenizer
from tests.export.test_conversion import KV, tiny_tflite

PROMPT = "<bos><start_of_turn>user\nmake it red<end_of_turn>\n<start_of_turn>model\n"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "notice_text", lambda: "the notice\n")
        return bundle.create_task(
            tiny_tflite(), folder / "tokenizer.model", folder / "tiny.task", sidecar={}
        )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def greedy(ids: list[int], count: int) -> str:
    """Decode with the bare `.tflite`, one whole prefill a token, stopping where the guide's profile stops."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tiny_tokenizer())
    answer: list[int] = []
    while len(answer) < count:
        token = int(np.argmax(first_token.logits_of(tiny_tflite(), [*ids, *answer])))
        if token in (1, 49, 50, 106):
            break
        answer.append(token)
    return processor.Decode(answer)


def test_the_whole_prompt_goes_in_raw_with_one_bos(task):
    ids = sentencepiece.SentencePieceProcessor(model_proto=tiny_tokenizer()).Encode(
        PROMPT.removeprefix("<bos>")
    )
    expected = greedy([2, *ids], 8)
    assert expected != greedy([2, 2, *ids], 8) and expected != greedy(ids, 8), (
        "the model must notice its first token"
    )
    with runtime.Runtime(task) as opened:
        assert opened.generate(PROMPT, max_new_tokens=8) == expected
        assert opened.generate(PROMPT.removeprefix("<bos>"), max_new_tokens=8) == expected


def test_prompts_do_not_see_each_other(task, capfd):
    with runtime.Runtime(task) as opened:
        alone = opened.generate(PROMPT, max_new_tokens=6)
        several = opened.generate_all([PROMPT, "<bos>hello world", PROMPT], 6, progress=False)
    assert several[0] == several[2] == alone and several[1] != alone
    assert capfd.readouterr().err == ""


def test_a_prompt_that_does_not_fit_is_one_message_and_harms_nothing(task):
    with runtime.Runtime(task) as opened:
        before = opened.generate(PROMPT, max_new_tokens=4)
        with pytest.raises(
            BundleError, match=r"tiny.task: LiteRT-LM failed on a prompt of \d\d\d tokens"
        ):
            opened.generate("<bos>" + "hello " * KV * 2, max_new_tokens=4)
        assert opened.generate(PROMPT, max_new_tokens=4) == before
        assert opened.generate(PROMPT, max_new_tokens=10 * KV)  # ends with the cache


@pytest.mark.parametrize("profile, cut", [("guide", True), ("google", False)])
def test_it_knows_whether_the_end_tag_is_cut(task, tmp_path, monkeypatch, profile, cut):
    monkeypatch.setattr(bundle, "notice_text", lambda: "the notice\n")
    other = bundle.create_task(
        tiny_tflite(),
        task.parent / "tokenizer.model",
        tmp_path / "b.task",
        profile=profile,
        sidecar={},
    )
    with runtime.Runtime(other) as opened:
        assert opened.end_tag_cut is cut


def test_compiled_weights_go_into_the_cache_which_is_pruned(task, own_cache):
    before = sorted(task.parent.iterdir())
    old = [own_cache / "xnnpack" / (letter * 16) for letter in "abcd"]
    mine = own_cache / "xnnpack" / "mine"
    for folder in (*old, mine):
        folder.mkdir(parents=True)
        (folder / "x.xnnpack_cache").touch()
    with runtime.Runtime(task):
        kept = list((own_cache / "xnnpack").iterdir())
        made = [folder for folder in kept if folder not in (*old, mine)]
        assert len(kept) == runtime.KEPT_CACHES + 1 and mine in kept  # not a name of fgkit's
        assert len(made) == 1 and list(made[0].iterdir())
    assert sorted(task.parent.iterdir()) == before


def damaged(task, folder, change):
    """A bundle around a damaged network, with true checksums."""
    (folder / "bad.tflite").write_bytes(change(tiny_tflite().read_bytes()))
    tokenizer = task.parent / "tokenizer.model"
    bundle._bundle(folder / "bad.tflite", tokenizer, folder / "bad.task", bundle.PROFILES["guide"])
    return folder / "bad.task"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + bytes(len(data) // 2),
    ],
)
def test_a_damaged_network_is_one_message(task, tmp_path, change):
    bad = damaged(task, tmp_path, change)
    with pytest.raises(BundleError, match="bad.task: LiteRT-LM does not load it"):
        runtime.Runtime(bad)
    with pytest.raises(BundleError, match="bad.tflite: is not a readable .tflite"):
        bundle.create_task(
            tmp_path / "bad.tflite",
            task.parent / "tokenizer.model",
            tmp_path / "c.task",
            sidecar={},
        )
    assert not (tmp_path / "c.task").exists()


@pytest.mark.parametrize("name", ["cut.task", "cut.litertlm"])
def test_a_truncated_file_never_reaches_the_runtime(task, tmp_path, name):
    cut = tmp_path / name
    cut.write_bytes(task.read_bytes()[:5000])
    with pytest.raises(BundleError, match=name):
        runtime.Runtime(cut)
    with pytest.raises(BundleError, match="absent"):
        runtime.Runtime(tmp_path / f"absent{cut.suffix}")
