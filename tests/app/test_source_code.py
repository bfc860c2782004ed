"""Descriptions and values of any text stay texts: no literal and no comment of the generated code can be left."""

from __future__ import annotations

import copy
import re

import pytest
from app_tools import HOSTILE, identifiers, text, tool, tree
from hypothesis import given, settings, strategies as st

from fgkit.app import dart, kotlin
from fgkit.app.golden import PromptText
from fgkit.app.source_code import App, comment_lines, folded, ranges
from fgkit.prompts import PromptSetup

SIGNS = st.sampled_from("\\'\"$*/{}()\n\r\t;\u2028\u0085\u202e@[]`")
ANY = st.text(st.one_of(SIGNS, st.characters(codec="utf-8")), max_size=30)
LANGUAGES = {
    "dart": (dart, "'", r"\\u\{([0-9a-f]+)\}"),
    "kotlin": (kotlin, '"', r"\\u([0-9a-f]{4})"),
}


def app(tools: list[dict], prefix: str = "<bos>", trimmed: str = " ") -> App:
    around = PromptText(prefix, "<end_of_turn>\n", trimmed)
    return App(PromptSetup(tools, "s"), around, "a\nb.py", "flutter_gemma", "functions")


@pytest.mark.parametrize("language", LANGUAGES)
@given(any_text=ANY)
def test_a_literal_holds_its_text_and_ends_where_it_should(language, any_text):
    module, quote, code = LANGUAGES[language]
    written = module.literal(any_text)
    inside = written[1:-1]
    assert written[0] == written[-1] == quote and written.isprintable()
    assert not re.search(rf"(?<!\\)(?:\\\\)*[{quote}$]", inside)
    read = re.sub(
        code + r"|\\(.)",
        lambda found: (
            chr(int(found[1], 16))
            if found[1]
            else {"n": "\n", "t": "\t", "r": "\r"}.get(found[2], found[2])
        ),
        inside,
    )
    assert read.encode("utf-16", "surrogatepass").decode("utf-16") == any_text


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=15, deadline=None)
@given(texts=st.lists(ANY, min_size=3, max_size=3))
def test_no_text_changes_the_code(language, texts):
    def words(one: str, two: str, three: str) -> set[str]:
        tools = [
            tool(
                "f",
                one,
                ["a"],
                a=text(two),
                b=text("x", default=three),
                c={"type": "object", "description": three, "properties": {"d": text(one)}},
            )
        ]
        root = tree(LANGUAGES[language][0].functions(app(tools, f"<bos>{one}")), language)
        assert not root.has_error
        return identifiers(root)

    assert words(*texts) == words("w", "x", "y") > {"dispatch"}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_descriptions_parse_in_every_file(words):
    tools = [
        tool("f", words, ["a"], a=text(words, enum=["x", words]), b=text(words, default=words))
    ]
    for language, (module, _, _) in LANGUAGES.items():
        for make in (module.functions, module.my_functions, module.golden_test):
            assert not tree(make(app(copy.deepcopy(tools), words)), language).has_error, (
                language,
                make,
            )


@given(any_text=ANY)
def test_comments_hold_no_line_end(any_text):
    for line in comment_lines(any_text, 20):
        assert line.isprintable()
    doc = kotlin._doc(any_text, "")
    assert doc.count("*/") == doc.count("/*") == bool(doc) and "/*" not in doc[2:]


@pytest.mark.parametrize("words", ["x */ fun evil() {} /*", "*/*/", "/*/", "/**/"])
def test_what_a_note_quotes_stays_in_its_comment(words):
    """Where two styles part, the note shows a little of both prompts, descriptions among it."""
    made = kotlin.litert_lm(app([tool("f", words, None, a=text(words))]))
    note = made[made.index("/**\n * The tools") : made.index("fun liteRtLmTools")]
    assert "parameters" in note and note.count("*/") == note.count("/*") == 1
    assert identifiers(tree(made, "kotlin")).isdisjoint({"evil"})


def test_long_lines_are_folded():
    assert folded("f(", ["a", "b"], ")", "  ", "  ") == "  f(a, b)"
    assert (
        folded("f(", ["a" * 60, "b" * 60], ")", "  ", "  ")
        == f"  f(\n    {'a' * 60},\n    {'b' * 60},\n  )"
    )


def test_ranges_join_neighbours():
    assert ranges("\n\t\r\v\f x") == "\\u0009-\\u000d\\u0020\\u0078"
