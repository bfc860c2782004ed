"""The Dart that glue writes parses (no Dart compiler installs from Debian, PyPI or npm) and says what it should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from app_tools import RICH, identifiers, parses, tree

from fgkit.app import codegen, dart
from fgkit.app.model_source import Source, read_source
from fgkit.calls import Call
from fgkit.dataset.records import request
from fgkit.prompts import PromptSetup
from fgkit.tools import check_tools

ROOT = Path(__file__).parents[2]


def rich() -> Source:
    check_tools(RICH, "rich.json")
    return Source("rich.json", PromptSetup(RICH), (request(1, "ping", [Call("ping", {})]),))


def home() -> Source:
    return read_source(ROOT / "data" / "home" / "tools.py", style="flutter_gemma")


@pytest.fixture
def functions(tmp_path):
    codegen.make(home(), dart=tmp_path)
    return (tmp_path / "lib/functions/functions.dart").read_text()


@pytest.mark.parametrize("make", [rich, home])
def test_every_file_parses(make, tmp_path):
    codegen.make(make(), dart=tmp_path)
    found = sorted(tmp_path.rglob("*.dart"))
    assert len(found) == 4
    for path in found:
        parses(path)


def test_the_interface_has_a_typed_method_for_each_function(functions):
    interface = functions[
        functions.index("abstract interface class") : functions.index("/// Makes one call")
    ]
    assert re.findall(r"  R (.*);", interface) == [
        "switchLight({required Room room, required bool on})",
        "dimLight({required Room room, required int percent})",
        "setHeating({required double celsius, Room? room})",
        "setTimer({required int minutes, String? label})",
        "setAlarm({required String time, List<String>? days})",
        "addToShoppingList({required List<String> products})",
        "sendMessage({required String to, required String text})",
        "addEvent({required String title, required When when})",
        "waterGarden({required List<int> zones, required int minutes})",
    ]


def test_three_tools_share_one_enum(functions):
    assert re.findall(r"^enum (\w+)", functions, re.MULTILINE) == ["Room"]
    assert (
        "  livingRoom('living room'),\n" in functions
        and "room: Room.of(given['room'])" in functions
    )


def test_optional_values_are_left_out_of_json(tmp_path):
    codegen.make(rich(), dart=tmp_path)
    text = (tmp_path / "lib/functions/functions.dart").read_text() + (
        tmp_path / "test/functions_test.dart"
    ).read_text()
    assert (
        "if (y != null) 'y': y" in text
        and "if (back case final back?) 'back': back.toJson()" in text
    )
    assert "'many': many.map((item) => item.toJson()).toList()" in text
    assert "(given['label'] ?? 'it\\'s \\$5') as String" in text


def test_the_tool_list_is_what_the_model_was_trained_with(functions):
    """The constants, read back as Python, are the declarations."""
    tools = functions[
        functions.index("const functionTools") : functions.index("const _promptPrefix")
    ]
    tools = re.sub(r"const functionTools = <Tool>|;\s*$", "", tools).replace("Tool(", "dict(")
    tools = re.sub(r"\b(name|description|parameters): ", r"\1=", tools).replace(r"\$", "$")
    read = eval(tools, {"true": True, "false": False})
    assert read == [tool["function"] for tool in home().setup.tools]


def test_it_says_when_the_plugin_writes_another_prompt(functions, tmp_path):
    assert (
        "writes these into the prompt exactly as in training (style\n/// flutter_gemma)."
        in functions
    )
    codegen.make(read_source(ROOT / "data" / "tools.py"), dart=tmp_path)
    other = " ".join(
        (tmp_path / "lib/functions/functions.dart").read_text().replace("///", "").split()
    )
    assert (
        "Trained in prompt style template, while the app's runtime writes flutter_gemma. They part at"
        in other
    )


def test_the_plugin_has_two_names(tmp_path):
    codegen.make(home(), dart=tmp_path, dart_package="flutter_edge_ai")
    text = (tmp_path / "lib/functions/functions.dart").read_text()
    assert "import 'package:flutter_edge_ai/flutter_edge_ai.dart' show Tool;" in text
    assert "flutter_gemma.dart" not in text


def test_names_stay_clear_of_the_languages_own():
    words = identifiers(tree(dart.functions(app_of(rich())), "dart"))
    assert {
        "ping",
        "switch_",
        "aB",
        "aB2",
        "toString_",
        "hashCode_",
        "onOff",
        "PaintList",
        "class_",
    } <= words


def app_of(source: Source):
    from fgkit.app.golden import prompt_text
    from fgkit.app.source_code import App

    around = prompt_text(source.setup)
    return App(source.setup, around, "x", "flutter_gemma", "functions")
