"""load_tools and check_tools: what comes out for the guide's file, and one message for each way to get a file wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fgkit.errors import ToolError
from fgkit.text import nearest
from fgkit.tools import check_tools, load_tools, strict_json, tools_hash

GOOD = '''"""My tools."""
from pathlib import Path
from textwrap import dedent


def second(count: int, word: str = "a") -> str:
    """Repeats a word.

    Args:
        count: How often
        word: What to repeat
    """
    return word * count


def _private(x):
    return x


def first() -> Path:
    """Does the first thing."""


alias = first
'''
SECOND = {
    "type": "function",
    "function": {
        "name": "second",
        "description": "Repeats a word.",
        "parameters": {
            "type": "object",
            "properties": {
                "count": {"type": "integer", "description": "How often"},
                "word": {"type": "string", "description": "What to repeat"},
            },
            "required": ["count"],
        },
    },
}
FIRST = {
    "type": "function",
    "function": {
        "name": "first",
        "description": "Does the first thing.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def write(tmp_path: Path, content: str | bytes, name: str = "my_tools.py") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tool(properties: dict | None = None, name: str = "go", **parameters: object) -> dict:
    body = {"type": "object", "properties": properties or {}, **parameters}
    return {
        "type": "function",
        "function": {"name": name, "description": "Goes.", "parameters": body},
    }


def message(call: object, *arguments: object) -> str:
    with pytest.raises(ToolError) as caught:
        call(*arguments)
    return str(caught.value)


def test_python_functions_in_source_order_without_return(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    before = (list(sys.path), set(sys.modules))
    assert load_tools(path) == [SECOND, FIRST]
    assert list(load_tools(path)[0]["function"]) == ["name", "description", "parameters"]
    assert sys.path == before[0] and not [
        name for name in set(sys.modules) - before[1] if "fgkit_tools" in name
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["my_tools.py"]


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    load_tools(write(tmp_path, GOOD))
    assert (
        load_tools(write(tmp_path, GOOD.replace("second", "sekond")))[0]["function"]["name"]
        == "sekond"
    )


def test_tools_list_decides_what_counts(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + f"\nTOOLS = [first, {tool()['function']!r}]\n")
    assert load_tools(path) == [FIRST, tool()]


def test_annotations_as_text_and_enums_work(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '''from __future__ import annotations
from enum import Enum

class Shade(Enum):
    RED = "red"

def paint(shade: Shade, size: float | None = None) -> None:
    """Paints.

    Args:
        shade: Which
        size: How big
    """
''',
    )
    assert load_tools(path)[0]["function"]["parameters"]["properties"] == {
        "shade": {"type": "string", "enum": ["red"], "description": "Which"},
        "size": {"type": "number", "nullable": True, "description": "How big"},
    }


def test_json_nested_flat_upper_case_and_bom_are_one_form(tmp_path: Path) -> None:
    nested = tool({"x": {"type": "array", "items": {"type": "integer"}, "description": "X"}})
    flat = json.dumps([{"type": "function", **nested["function"], "return": {"type": "string"}}])
    shouted = (
        flat.replace('"array"', '"ARRAY"')
        .replace('"integer"', '"INTEGER"')
        .replace('"object"', '"OBJECT"')
    )
    for number, content in enumerate([json.dumps([nested]), flat, shouted, "\ufeff" + flat]):
        assert load_tools(write(tmp_path, content, f"{number}.json")) == [nested]


def test_hash_sees_order_and_words() -> None:
    one, two = tool(name="a"), tool(name="b")
    assert tools_hash([one, two]) == tools_hash([tool(name="a"), tool(name="b")])
    turned = dict(reversed(one.items()))
    assert (
        len(
            {
                tools_hash(tools)
                for tools in ([one, two], [two, one], [one], [turned], [{**one, "é": 1}])
            }
        )
        == 5
    )


BAD_FILES = [
    ("missing.txt", None, "found the ending '.txt', expected .py or .json"),
    ("missing.py", None, "missing.py: T001 cannot be read: No such file"),
    ("a.py", "def f(:\n  pass", "a.py:1: T002 is not valid Python"),
    ("a.py", b"x = '\xff'", "a.py:1: T002 is not valid Python"),
    ("a.py", b"x = '\0'", "T002 is not valid Python: source code"),
    ("a.py", "x = 1\nreturn x\n", "a.py:2: T002 is not valid Python: 'return' outside function"),
    (
        "a.py",
        "x = 1\nimport no_such_package_here\n",
        "a.py:2: T003 stopped with ModuleNotFoundError",
    ),
    ("a.py", "def g():\n    raise KeyError('k')\n\ng()\n", "a.py:2: T003 stopped with KeyError"),
    ("a.py", "import json\njson.loads('{')\n", "a.py:2: T003 stopped with JSONDecodeError"),
    ("a.py", "import sys\nsys.exit(3)\n", "a.py:2: T003 stopped with SystemExit"),
    ("a.py", "x = 1\n", "holds no tools"),
    ("a.py", "TOOLS = []\n", "holds no tools"),
    ("a.py", "TOOLS = 'f'\n", "TOOLS is a str, expected a list"),
    ("a.py", "TOOLS = [3]\n", "TOOLS[0]: T201 has no 'function' mapping"),
    ("a.py", "\n\ndef f(x: int):\n    pass\n", "a.py:3: T101 function 'f': has no docstring"),
    (
        "a.py",
        'def f(x):\n    """F."""\n',
        "a.py:1: T103 function 'f': parameter 'x' has no type hint",
    ),
    (
        "a.py",
        'def f(x: int):\n    """F."""\n',
        "a.py:1: T105 function 'f': parameter 'x' is not described in the docstring",
    ),
    ("a.py", 'def f(**x: int):\n    """F."""\n', "the parameter '**x: int', expected named ones"),
    (
        "a.py",
        'def f(x: "Nope"):\n    """F.\n\n    Args:\n        x: X\n    """\n',
        "a.py:1: T104 function 'f': has a type hint that gives no type: name 'Nope'",
    ),
    ("a.py", 'def f():\n    """F."""\ndef f():\n    """G."""\n', "function 'f' is defined twice"),
    ("a.json", "[{]", "a.json: T004 cannot be read: not JSON"),
    ("a.json", b"\xff\xff", "a.json: T004 cannot be read: 'utf-8'"),
    ("a.json", '{"name": "f"}', "holds a dict, expected a list"),
    ("a.json", '[{"name": "f", "name": "g"}]', "the key 'name' occurs twice"),
    ("a.json", "[]", "holds no tools"),
    (
        "a.json",
        '[{"name": "f", "description": "F", "parameters": {"default": '
        + "[" * 600
        + "]" * 600
        + "}}]",
        "a tool is nested too deeply",
    ),
    ("a.json", '["f"]', "a.json: tool 1: T201 has no 'function' mapping"),
    ("a.json", '[{"function": "f"}]', "a.json: tool 1: T201 has no 'function' mapping"),
]


@pytest.mark.parametrize(("name", "content", "expected"), BAD_FILES)
def test_bad_file(tmp_path: Path, name: str, content: str | bytes | None, expected: str) -> None:
    path = tmp_path / name if content is None else write(tmp_path, content, name)
    assert expected in message(load_tools, path)


STRING = {"type": "string", "description": "X"}


def test_check_tools_takes_the_normal_form_and_nothing_else() -> None:
    check_tools([tool({"x": STRING})], "here")
    assert message(check_tools, [tool({"x": {"type": ["string", "null"]}})], "here").startswith(
        "here: T402 go.parameters.properties.x.type: is a union"
    )
    assert (
        message(check_tools, {"tools": []}, "here")
        == "here: T005 found a dict, expected a list of tools."
    )


def test_all_problems_of_all_tools_at_once(tmp_path: Path) -> None:
    lines = message(
        check_tools, [tool({"type": STRING, "x": {}}), tool(), tool(name="1")], "here"
    ).splitlines()
    for line, expected in zip(
        lines, ("'type'", "x: has no type", "two tools are called 'go'", "is '1'"), strict=True
    ):
        assert expected in line
    functions = 'def f(x):\n    """F."""\ndef g(type: str):\n    """G.\n\n    Args:\n        type: T\n    """\n'
    path = write(tmp_path, functions)
    assert [line.split(" ")[0] for line in message(load_tools, path).splitlines()] == [
        f"{path}:1:",
        f"{path}:3:",
    ]


def test_helpers() -> None:
    assert (
        nearest("colour", ["title", "color"]) == "; did you mean 'color'?"
        and nearest("zzz", ["color"]) == "."
    )
    for text in ("NaN", "[-Infinity]", '{"a": {"b": 1, "b": 1}}', "[" * 100_000, "1" * 5000, ""):
        with pytest.raises(ValueError):
            strict_json(text)


def test_import_is_light() -> None:
    code = (
        "import sys, fgkit.tools, fgkit.dataset.records, fgkit.evaluation.scores, fgkit.evaluation.gate; "
        "print(sorted({'torch', 'transformers', 'jsonschema', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
