"""Dart for flutter_gemma: the `Tool` list, a typed interface of the functions, the dispatcher and a test.

In: the tools, how the model is prompted. Out: the text of each file.

>>> print(functions(app))
// Made by fgkit glue: make it again instead of editing it. ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .source import App, comment_lines, folded, quoted, ranges
from .types import DART, Class, Enum, Function, Member, Type, plan

# A formatted file would no longer be the one that was written.
_ASIDE = "// dart format off\n// ignore_for_file: type=lint\n"


def literal(value: Any, indent: str = "") -> str:
    """A JSON value as a Dart constant; objects and lists of objects stand on lines of their own."""
    if isinstance(value, str):
        return quoted(value, "'", lambda code: f"\\u{{{code:x}}}")
    if isinstance(value, dict):
        entries = [
            f"{indent}  {literal(key)}: {literal(item, indent + '  ')},\n"
            for key, item in value.items()
        ]
        return "{\n" + "".join(entries) + f"{indent}}}" if entries else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item, indent) for item in value) + "]"
    if type(value) is int and not -(2**63) <= value < 2**63:
        return f"{value}.0"
    return json.dumps(value)


def functions(app: App) -> str:
    """The file with the tools, the types, the interface and the dispatcher."""
    found = plan(app.tools, DART)
    plugin = f"package:{app.dart_package}/{app.dart_package}.dart"
    parts = [
        f"{app.header}\n{_ASIDE}library;\n",
        f"import '{plugin}' show Tool;\n"
        "import 'function_calls.dart';\n\nexport 'function_calls.dart';\n",
        _tools(app),
        _prompt(app),
        _interface(found.functions),
        _dispatch(found.functions),
        *map(_enum, found.enums),
        *map(_class, found.classes),
    ]
    return "\n".join(parts)


def mine(app: App) -> str:
    """The file that is the user's: a class with a method for each function, to be filled in."""
    methods = "\n".join(
        f"  @override\n{_method('void', function, ' {')}\n    throw UnimplementedError("
        f"{literal(function.wire)});\n  }}\n"
        for function in plan(app.tools, DART).functions
    )
    return (
        "// Yours: fgkit glue writes this file once and never touches it again.\n"
        "// Change `void` to what the functions give back, such as Future<Map<String, Object?>>.\n"
        "import 'functions.dart';\n\n"
        f"class MyFunctions implements Functions<void> {{\n{methods}}}\n"
    )


def test(app: App) -> str:
    """The file that replays golden.json in the app's own tests."""
    methods = "\n".join(
        f"  @override\n{_method('ModelCall', function, ' =>')}\n      ModelCall("
        f"{literal(function.wire)}, {_encoded(function.members)});\n"
        for function in plan(app.tools, DART).functions
    )
    return f"""{app.header}
{_ASIDE}library;

import 'dart:convert';
import 'dart:io';

import 'package:flutter_test/flutter_test.dart';

import '../lib/functions/functions.dart'; // ignore: avoid_relative_lib_imports

/// Gives every call back as it arrived.
class _Recorder implements Functions<ModelCall> {{
{methods}}}

void main() {{
  final golden = jsonDecode(File('test/golden.json').readAsStringSync()) as Map<String, Object?>;
  final vectors = (golden['vectors'] as List).cast<Map<String, Object?>>();

  test('there are vectors', () => expect(vectors, isNotEmpty));

  for (final vector in vectors) {{
    final calls = (vector['calls'] as List).cast<Map<String, Object?>>();
    test('line ${{vector['line']}}: ${{vector['user']}}', () {{
      if (vector['single'] == true) expect(promptFor(vector['user'] as String), vector['prompt']);
      final parsed = parseCalls(vector['answer'] as String);
      expect([for (final call in parsed) call.name], [for (final call in calls) call['name']]);
      for (final (index, call) in calls.indexed) {{
        expect(parsed[index].arguments, call['arguments']);
        if (!call.containsKey('received')) continue; // a tool of this row only
        final made = dispatch(_Recorder(), parsed[index].name, parsed[index].arguments);
        expect(made.name, call['name']);
        expect(made.arguments, call['received']);
      }}
    }});
  }}

  test('an unknown function is refused', () {{
    expect(() => dispatch(_Recorder(), 'no such function', {{}}), throwsA(isA<ModelCallException>()));
  }});
}}
"""


def _tools(app: App) -> str:
    tools = "".join(
        f"  Tool(\n    name: {literal(body['name'])},\n    description: "
        f"{literal(body.get('description') or '')},\n    parameters: "
        f"{literal(body.get('parameters') or {}, '    ')},\n  ),\n"
        for body in app.bodies
    )
    return (
        f"/// What the model can call, in the order it was trained with.\n///\n{app.note('///', 'dart')}"
        f"const functionTools = <Tool>[\n{tools}];\n"
    )


def _prompt(app: App) -> str:
    prefix = "\n".join(f"    {literal(line)}" for line in app.prompt_lines)
    inside, text, ends = ranges(app.prompt.trimmed), "text", ""
    if inside:
        text = "text.replaceAll(_ends, '')"
        ends = f"final _ends = RegExp({literal(f'^[{inside}]+|[{inside}]+$')});\n"
    return (
        f"const _promptPrefix =\n{prefix};\nconst _promptSuffix = {literal(app.prompt.suffix)};\n{ends}\n"
        f"/// The whole prompt for what the user says, byte for byte as in training (style {app.setup.style}).\n"
        "///\n/// For a runtime that takes a prompt as it is.\n"
        f"String promptFor(String text) => '$_promptPrefix${{neutralise({text})}}$_promptSuffix';\n"
    )


def _interface(functions: Iterable[Function]) -> str:
    methods = "\n".join(
        f"{_doc(function.description, '  ')}{_method('R', function, ';')}\n"
        for function in functions
    )
    return (
        "/// Your app's functions. [R] is what they give back: void, a Future, a map for the model.\n"
        f"abstract interface class Functions<R> {{\n{methods}}}\n"
    )


def _dispatch(functions: Iterable[Function]) -> str:
    cases = []
    for function in functions:
        call = folded(
            f"return functions.{function.name}(", _values(function.members), ");", "      ", "  "
        )
        cases.append(f"    case {literal(function.wire)}:\n{call}\n")
    return (
        "/// Makes one call of the model: checks the arguments, gives them their types, calls the function.\n///\n"
        "/// Throws a [ModelCallException] when there is no such function or the arguments do not fit it.\n"
        "R dispatch<R>(Functions<R> functions, String name, Map<String, Object?> arguments) {\n"
        "  final tool = functionTools.where((tool) => tool.name == name).firstOrNull;\n"
        "  if (tool == null) {\n"
        "    final known = functionTools.map((tool) => tool.name).join(', ');\n"
        "    throw ModelCallException(['$name: there is no such function, only $known']);\n  }\n"
        "  final given = checkArguments(name, tool.parameters, arguments);\n"
        f"  switch (name) {{\n{''.join(cases)}  }}\n"
        "  throw StateError('$name is a tool without a method');\n}\n"
    )


def _enum(enum: Enum) -> str:
    values = ",\n".join(f"  {name}({literal(wire)})" for name, wire in enum.values)
    return (
        f"enum {enum.name} {{\n{values};\n\n  const {enum.name}(this.wire);\n\n"
        "  /// What the model reads and writes.\n  final String wire;\n\n"
        f"  static {enum.name} of(Object? wire) => values.firstWhere((value) => value.wire == wire);\n}}\n"
    )


def _class(item: Class) -> str:
    fields = "\n".join(
        f"{_doc(member.description, '  ')}  final {DART.written(member.given)} {member.name};\n"
        for member in item.members
    )
    arguments = (
        f"{'' if member.optional else 'required '}this.{member.name}" for member in item.members
    )
    return (
        f"{_doc(item.description, '')}class {item.name} {{\n"
        f"{folded(f'const {item.name}({{', arguments, '});', '  ', '  ')}\n\n"
        f"  factory {item.name}.of(Object? value) {{\n    final given = value as Map<String, Object?>;\n"
        f"{folded(f'return {item.name}(', _values(item.members), ');', '    ', '  ')}\n  }}\n\n{fields}\n"
        f"  Map<String, Object?> toJson() => {_encoded(item.members)};\n}}\n"
    )


def _method(result: str, function: Function, tail: str) -> str:
    arguments = [
        f"{'' if member.optional else 'required '}{DART.written(member.given)} {member.name}"
        for member in function.members
    ]
    if not arguments:
        return f"  {result} {function.name}(){tail}"
    return folded(f"{result} {function.name}({{", arguments, f"}}){tail}", "  ", "  ")


def _values(members: Iterable[Member]) -> Iterator[str]:
    return (f"{member.name}: {_decoded(member)}" for member in members)


def _decoded(member: Member) -> str:
    value = f"given[{literal(member.wire)}]"
    if member.default is not None:
        value = f"({value} ?? {literal(member.default)})"
    return _read(value, member.type, member.optional)


def _read(value: str, kind: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a checked value into its Dart type."""
    if kind.kind == "any":
        return value
    if kind.kind in DART.scalars:
        return f"{value} as {DART.scalars[kind.kind]}{'?' * nullable}"
    if kind.kind == "list":
        item = f"item{depth}" if depth else "item"
        inner = f"[for (final {item} in {value} as List) {_read(item, kind.item, kind.item.nullable, depth + 1)}]"
    else:
        inner = f"{kind.name}.of({value})"
    return f"{value} == null ? null : {inner}" if nullable else inner


def _encoded(members: Iterable[Member]) -> str:
    return f"{{{', '.join(map(_entry, members))}}}"


def _entry(member: Member) -> str:
    """One entry of a map; an optional member without a value is left out."""
    name = member.name
    if not member.optional or member.required:
        return f"{literal(member.wire)}: {_write(name, member.type, member.optional)}"
    value = _write(name, member.type, False)
    found = f"{name} != null" if value == name else f"{name} case final {name}?"
    return f"if ({found}) {literal(member.wire)}: {value}"


def _write(value: str, kind: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a Dart value back into JSON."""
    dot = "?." if nullable else "."
    if kind.kind == "enum":
        return f"{value}{dot}wire"
    if kind.kind == "object":
        return f"{value}{dot}toJson()"
    if kind.kind == "list" and kind.item.kind in ("enum", "object", "list"):
        item = f"item{depth}" if depth else "item"
        return f"{value}{dot}map(({item}) => {_write(item, kind.item, kind.item.nullable, depth + 1)}).toList()"
    return value


def _doc(text: str, indent: str) -> str:
    return "".join(f"{indent}/// {line}".rstrip() + "\n" for line in comment_lines(text))
