"""Kotlin for Android and the JVM: declarations, typed interface, dispatcher, LiteRT-LM's tools and a test.

In: the tools, how the model is prompted. Out: the text of each file.

LiteRT-LM's `@Tool` functions know neither enums nor nested objects, turn names into snake_case and come in the order of
Java's reflection, so they cannot give the trained prompt; its `OpenApiTool` takes the declaration as it is.

>>> print(functions(app))
// Made by fgkit glue: make it again instead of editing it. ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .source import App, comment_lines, folded, quoted, ranges
from .types import KOTLIN, Class, Enum, Function, Member, Type, plan


def literal(value: Any, indent: str = "") -> str:
    """A JSON value as a Kotlin expression; objects stand on lines of their own."""
    if isinstance(value, str):
        return quoted(value, '"', _escape)
    if isinstance(value, dict):
        entries = [
            f"{indent}    {literal(key)} to {literal(item, indent + '    ')},\n"
            for key, item in value.items()
        ]
        return "json(\n" + "".join(entries) + f"{indent})" if entries else "json()"
    if isinstance(value, list):
        return "listOf<Any?>(" + ", ".join(literal(item, indent) for item in value) + ")"
    if type(value) is int:
        return f"{value}L" if -(2**63) < value < 2**63 else f"{value}.0"
    return "null" if value is None else json.dumps(value)


def functions(app: App) -> str:
    """The file with the declarations, the types, the interface and the dispatcher."""
    found = plan(app.tools, KOTLIN)
    parts = [
        f"{app.header}\npackage {app.kotlin_package}\n",
        _declarations(app, found.functions),
        _prompt(app),
        _interface(found.functions),
        _dispatch(found.functions),
        *map(_enum, found.enums),
        *map(_class, found.classes),
    ]
    return "\n".join(parts)


def litert_lm(app: App) -> str:
    """The file that gives the declarations to LiteRT-LM."""
    return f"""{app.header}
package {app.kotlin_package}

import com.google.ai.edge.litertlm.OpenApiTool
import com.google.ai.edge.litertlm.ToolProvider
import com.google.ai.edge.litertlm.tool

/** The developer text of the training: `ConversationConfig(systemInstruction = Contents.of(SYSTEM_INSTRUCTION))`. */
const val SYSTEM_INSTRUCTION = {literal(app.setup.developer_text)}

/**
 * The tools for `ConversationConfig(tools = liteRtLmTools(MyFunctions()))`.
 *
{_closed(app.note(" *", "kotlin"))} *
 * With `automaticToolCalling = false` LiteRT-LM gives the calls to the app instead: pass each to [dispatch].
 */
fun liteRtLmTools(functions: Functions<*>): List<ToolProvider> = functionDeclarations.map {{ declaration ->
    tool(object : OpenApiTool {{
        override fun getToolDescriptionJsonString(): String = toJson(declaration)

        override fun execute(paramsJsonString: String): String = toJson(
            try {{
                val arguments = parseJson(paramsJsonString) as Map<*, *>
                dispatch(functions, declaration["name"] as String, arguments.mapKeys {{ it.key as String }})
            }} catch (refused: ModelCallException) {{
                mapOf("error" to refused.message)
            }},
        )
    }})
}}
"""


def mine(app: App) -> str:
    """The file that is the user's: a class with a method for each function, to be filled in."""
    methods = "\n".join(
        f"{_method('override fun', function, ' {')}\n        TODO({literal(function.wire)})\n    }}\n"
        for function in plan(app.tools, KOTLIN).functions
    )
    return (
        "// Yours: fgkit glue writes this file once and never touches it again.\n"
        "// Change `Unit` to what the functions give back, such as Map<String, Any?>.\n"
        f"package {app.kotlin_package}\n\n"
        f"class MyFunctions : Functions<Unit> {{\n{methods}}}\n"
    )


def test(app: App) -> str:
    """The file that replays golden.json in the app's own tests."""
    methods = "\n".join(
        f"{_method('override fun', function, ' =')}\n        ModelCall({literal(function.wire)}, "
        f"{_encoded(function.members)})\n"
        for function in plan(app.tools, KOTLIN).functions
    )
    return f"""{app.header}
package {app.kotlin_package}

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Gives every call back as it arrived. */
internal class Recorder : Functions<ModelCall> {{
{methods}}}

class FunctionsTest {{
    private val golden = parseJson(javaClass.getResource("/golden.json")!!.readText()) as Map<*, *>
    private val vectors = (golden["vectors"] as List<*>).map {{ it as Map<*, *> }}

    @Test
    fun everyAnswerReachesItsFunction() {{
        assertTrue(vectors.isNotEmpty())
        for (vector in vectors) {{
            val line = "line ${{vector["line"]}}: ${{vector["user"]}}"
            if (vector["single"] == true) assertEquals(vector["prompt"], promptFor(vector["user"] as String), line)
            val calls = (vector["calls"] as List<*>).map {{ it as Map<*, *> }}
            val parsed = parseCalls(vector["answer"] as String)
            assertEquals(calls.map {{ it["name"] }}, parsed.map {{ it.name }}, line)
            for ((call, read) in calls.zip(parsed)) {{
                assertEquals(call["arguments"], read.arguments, line)
                if ("received" !in call) continue // a tool of this row only
                val made = dispatch(Recorder(), read.name, read.arguments)
                assertEquals(call["name"], made.name, line)
                assertEquals(call["received"], made.arguments, line)
            }}
        }}
    }}

    @Test
    fun anUnknownFunctionIsRefused() {{
        assertFailsWith<ModelCallException> {{ dispatch(Recorder(), "no such function", emptyMap()) }}
    }}
}}
"""


def _declarations(app: App, functions: Iterable[Function]) -> str:
    names = [f"{function.name[0].upper()}{function.name[1:]}" for function in functions]
    items = "".join(f"    declare{name}(),\n" for name in names)
    made = "\n".join(
        f"private fun declare{name}() = {literal(body)}\n"
        for name, body in zip(names, app.bodies, strict=True)
    )
    return (
        f"/** What the model can call, in the order it was trained with. */\n"
        f"val functionDeclarations: List<Map<String, Any?>> = listOf(\n{items})\n\n{made}\n"
        "private fun json(vararg entries: Pair<String, Any?>): Map<String, Any?> = linkedMapOf(*entries)\n"
    )


def _prompt(app: App) -> str:
    prefix = " +\n".join(f"    {literal(line)}" for line in app.prompt_lines)
    inside, text, ends = ranges(app.prompt.trimmed), "text", ""
    if inside:
        text = 'text.replace(ENDS, "")'
        ends = f"private val ENDS = Regex({literal(f'^[{inside}]+|[{inside}]+$')})\n"
    return (
        f"private const val PROMPT_PREFIX =\n{prefix}\n"
        f"private const val PROMPT_SUFFIX = {literal(app.prompt.suffix)}\n{ends}\n"
        f"/**\n * The whole prompt for what the user says, byte for byte as in training (style {app.setup.style}).\n *\n"
        " * For a runtime that takes a prompt as it is. A LiteRT-LM Session writes `<bos>`: remove it there.\n"
        " */\n"
        f"fun promptFor(text: String): String = PROMPT_PREFIX + neutralise({text}) + PROMPT_SUFFIX\n"
    )


def _interface(functions: Iterable[Function]) -> str:
    methods = "\n".join(
        f"{_doc(function.description, '    ')}{_method('fun', function, ': R')}\n"
        for function in functions
    )
    return (
        "/** Your app's functions. [R] is what they give back: Unit, a map for the model. */\n"
        f"interface Functions<out R> {{\n{methods}}}\n"
    )


def _dispatch(functions: Iterable[Function]) -> str:
    cases = []
    for function in functions:
        cases.append(
            folded(
                f"{literal(function.wire)} -> functions.{function.name}(",
                _values(function.members),
                ")",
                "        ",
                "    ",
            )
            + "\n"
        )
    return (
        "/**\n"
        " * Makes one call of the model: checks the arguments, gives them their types, calls the function.\n *\n"
        " * @throws ModelCallException when there is no such function or the arguments do not fit it.\n */\n"
        "fun <R> dispatch(functions: Functions<R>, name: String, arguments: Map<String, Any?>): R {\n"
        '    val declaration = functionDeclarations.find { it["name"] == name } ?: throw ModelCallException(\n'
        '        listOf("$name: there is no such function, only ${functionDeclarations.joinToString { '
        '"${it["name"]}" }}"),\n    )\n'
        '    val schema = (declaration["parameters"] as? Map<*, *> ?: emptyMap<String, Any?>())'
        ".mapKeys { it.key as String }\n"
        "    val given = checkArguments(name, schema, arguments)\n"
        f"    return when (name) {{\n{''.join(cases)}"
        '        else -> error("$name is declared without a method")\n    }\n}\n'
    )


def _enum(enum: Enum) -> str:
    values = ",\n".join(f"    {name}({literal(wire)})" for name, wire in enum.values)
    return (
        f"/** [wire] is what the model reads and writes. */\n"
        f"enum class {enum.name}(val wire: String) {{\n{values};\n\n    companion object {{\n"
        f"        fun of(wire: Any?): {enum.name} = values().first {{ it.wire == wire }}\n    }}\n}}\n"
    )


def _class(item: Class) -> str:
    fields = "".join(
        f"{_doc(member.description, '    ')}    val {member.name}: {KOTLIN.written(member.given)}"
        f"{' = null' * member.optional},\n"
        for member in item.members
    )
    return (
        f"{_doc(item.description, '')}data class {item.name}(\n{fields}) {{\n"
        f"    fun toJson(): Map<String, Any?> = {_encoded(item.members)}\n\n    companion object {{\n"
        f"        fun of(value: Any?): {item.name} {{\n            val given = value as Map<*, *>\n"
        f"{folded(f'return {item.name}(', _values(item.members), ')', ' ' * 12, '    ')}\n        }}\n    }}\n}}\n"
    )


def _method(words: str, function: Function, tail: str) -> str:
    arguments = (f"{member.name}: {KOTLIN.written(member.given)}" for member in function.members)
    return folded(f"{words} {function.name}(", arguments, f"){tail}", "    ", "    ")


def _values(members: Iterable[Member]) -> Iterator[str]:
    return (f"{member.name} = {_decoded(member)}" for member in members)


def _decoded(member: Member) -> str:
    value = f"given[{literal(member.wire)}]"
    if member.default is not None:
        value = f"({value} ?: {literal(member.default)})"
    return _read(value, member.type, member.optional)


def _read(value: str, kind: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a checked value into its Kotlin type."""
    if kind.kind == "any":
        return value
    if kind.kind in KOTLIN.scalars and kind.kind != "map":
        return f"{value} as {KOTLIN.scalars[kind.kind]}{'?' * nullable}"
    if nullable:
        return f"{value}?.let {{ {_read('it', kind, False, depth)} }}"
    if kind.kind == "map":
        return f"({value} as Map<*, *>).mapKeys {{ entry -> entry.key as String }}"
    if kind.kind == "list":
        item = f"item{depth}" if depth else "item"
        return f"({value} as List<*>).map {{ {item} -> {_read(item, kind.item, kind.item.nullable, depth + 1)} }}"
    return f"{kind.name}.of({value})"


def _encoded(members: Iterable[Member]) -> str:
    entries = ", ".join(
        f"{literal(member.wire)} to {_write(member.name, member.type, member.optional)}"
        for member in members
    )
    left_out = [
        literal(member.wire) for member in members if member.optional and not member.required
    ]
    drop = (
        f".filter {{ (key, value) -> value != null || key !in setOf({', '.join(left_out)}) }}"
        if left_out
        else ""
    )
    return f"mapOf<String, Any?>({entries}){drop}"


def _write(value: str, kind: Type, nullable: bool, depth: int = 0) -> str:
    dot = "?." if nullable else "."
    if kind.kind == "enum":
        return f"{value}{dot}wire"
    if kind.kind == "object":
        return f"{value}{dot}toJson()"
    if kind.kind == "list" and kind.item.kind in ("enum", "object", "list"):
        item = f"item{depth}" if depth else "item"
        return f"{value}{dot}map {{ {item} -> {_write(item, kind.item, kind.item.nullable, depth + 1)} }}"
    return value


def _doc(text: str, indent: str) -> str:
    lines = [_closed(line) for line in comment_lines(text)]
    if len(lines) <= 1:
        return "".join(f"{indent}/** {line} */\n" for line in lines)
    return (
        f"{indent}/**\n"
        + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
        + f"{indent} */\n"
    )


def _closed(text: str) -> str:
    """A text that neither ends the comment it stands in nor opens one, which Kotlin would nest."""
    return text.replace("*/", "*&#47;").replace("/*", "/&#42;")


def _escape(code: int) -> str:
    units = chr(code).encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
