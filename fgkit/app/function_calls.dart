{header}
// dart format off
// ignore_for_file: type=lint
library;

import 'dart:convert';

/// One call as the model wrote it; nothing in it is checked yet.
class ModelCall {
  const ModelCall(this.name, this.arguments);

  final String name;
  final Map<String, Object?> arguments;

  @override
  String toString() => '$name(${jsonEncode(arguments)})';
}

/// The answer cannot be parsed, or a call cannot be made.
class ModelCallException implements Exception {
  const ModelCallException(this.problems);

  /// One line for each reason.
  final List<String> problems;

  @override
  String toString() => problems.join('\n');
}

/// Parses the calls in a model's answer; a plain text has none.
///
/// For runtimes that return text; flutter_gemma parses the calls itself. The last
/// `<end_function_call>` may be missing, because some runtimes stop at it and leave it out.
List<ModelCall> parseCalls(String answer) {
  final stop = RegExp('<eos>|<start_function_response>|<end_of_turn>').firstMatch(answer);
  return _AnswerReader(stop == null ? answer : answer.substring(0, stop.start)).calls();
}

/// Breaks every control token in a text with an invisible space, so that no user can type a turn
/// of the model.
String neutralise(String text) =>
    text.replaceAllMapped(_control, (match) => '<\u200b${match[0]!.substring(1)}');

/// Checks arguments against a function's schema and converts them to its types: `"5"` and `5.0`
/// become `5`, and `"RED"` becomes `"red"`.
Map<String, Object?> checkArguments(
  String name,
  Map<String, Object?> schema,
  Map<String, Object?> arguments,
) {
  final problems = <String>[];
  final checked = _checkMembers(arguments, schema, name, problems);
  if (problems.isNotEmpty) throw ModelCallException(problems);
  return checked;
}

Map<String, Object?> _checkMembers(Map members, Map schema, String place, List<String> problems) {
  final properties = schema['properties'] as Map? ?? const {};
  final required = schema['required'] as List? ?? const [];
  final checked = <String, Object?>{};
  for (final MapEntry(:key, :value) in members.entries) {
    final inner = properties[key] as Map?;
    if (inner == null) {
      final known = properties.isEmpty ? 'nothing' : properties.keys.join(', ');
      problems.add('$place.$key: is not known; there is $known');
    } else if (value != null || required.contains(key) || inner['nullable'] == true) {
      checked[key as String] = _checkValue(value, inner, '$place.$key', problems);
    }
  }
  for (final key in required) {
    if (!members.containsKey(key)) problems.add('$place.$key: is missing');
  }
  return checked;
}

Object? _checkValue(Object? value, Map schema, String place, List<String> problems) {
  if (value == null && schema['nullable'] == true) return null;
  final kind = schema['type'];
  final Object? checked;
  if (kind == 'string' && value is String) {
    checked = _enumValue(value, schema['enum'] as List?);
  } else if (kind == 'integer') {
    checked = _integer(value);
  } else if (kind == 'number') {
    checked = _decimal(value);
  } else if (kind == 'boolean') {
    checked = switch (value) {
      bool() => value,
      String() => bool.tryParse(value, caseSensitive: false),
      _ => null,
    };
  } else if (kind == 'array' && value is List) {
    final items = schema['items'] as Map?;
    checked = <Object?>[
      for (final (index, item) in value.indexed)
        items == null ? item : _checkValue(item, items, '$place[$index]', problems),
    ];
  } else if (kind == 'object' && value is Map) {
    checked = schema['properties'] is Map
        ? _checkMembers(value, schema, place, problems)
        : value.cast<String, Object?>();
  } else {
    checked = _kinds.contains(kind) ? null : value;
  }
  if (checked == null && _kinds.contains(kind)) {
    final allowed = schema['enum'] as List?;
    final expected = allowed == null ? 'type $kind' : 'one of ${allowed.join(', ')}';
    problems.add('$place: is ${jsonEncode(value)}, expected $expected');
  }
  final size = checked is num ? checked : (checked is List ? checked.length : null);
  if (size != null) {
    final least = schema[checked is List ? 'minItems' : 'minimum'] as num?;
    final most = schema[checked is List ? 'maxItems' : 'maximum'] as num?;
    final what = checked is List ? 'holds ${checked.length}' : 'is $checked';
    if (least != null && size < least) problems.add('$place: $what, expected at least $least');
    if (most != null && size > most) problems.add('$place: $what, expected at most $most');
  }
  return checked;
}

const _kinds = ['string', 'integer', 'number', 'boolean', 'array', 'object'];

String? _enumValue(String text, List? allowed) {
  if (allowed == null || allowed.contains(text)) return text;
  final lower = text.toLowerCase();
  final alike = allowed.whereType<String>().where((item) => item.toLowerCase() == lower).toList();
  return alike.length == 1 ? alike.single : null;
}

int? _integer(Object? value) => switch (value) {
      int() => value,
      // Beyond 9.2e18 a double does not fit into an int; NaN and infinity are not below it either.
      double() => value.abs() < 9.2e18 && value == value.truncateToDouble() ? value.toInt() : null,
      String() => _wholeNumber.hasMatch(value) ? int.tryParse(value) : null,
      _ => null,
    };

double? _decimal(Object? value) {
  final number = switch (value) {
    num() => value.toDouble(),
    String() => _anyNumber.hasMatch(value) ? double.parse(value) : null,
    _ => null,
  };
  return number != null && number.isFinite ? number : null;
}

final _control = RegExp('{tokens}');
final _name = RegExp('[A-Za-z_][A-Za-z0-9_.-]*');
final _wholeNumber = RegExp(r'^-?(?:0|[1-9][0-9]*)$');
final _anyNumber = RegExp(r'^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$');
final _bare = RegExp(r'[^,{}\[\]<"\s]+');
const _deepest = 64;

class _AnswerReader {
  _AnswerReader(this.text);

  final String text;
  int at = 0;

  List<ModelCall> calls() {
    final first = _control.firstMatch(text);
    final calls = <ModelCall>[];
    at = first?.start ?? text.length;
    while (at < text.length) {
      expect('<start_function_call>');
      expect('call:');
      calls.add(ModelCall(key(), members(0)));
      if (at < text.length) expect('<end_function_call>');
    }
    return calls;
  }

  Object? value(int depth) {
    if (depth > _deepest) fail('fewer nested levels');
    if (text.startsWith('{', at)) return members(depth);
    if (text.startsWith('[', at)) return items(depth);
    return accept('<escape>') ? string() : word();
  }

  Map<String, Object?> members(int depth) {
    final result = <String, Object?>{};
    sequence('{', '}', () {
      final name = key();
      if (result.containsKey(name)) fail('each name once');
      expect(':');
      result[name] = value(depth + 1);
    });
    return result;
  }

  List<Object?> items(int depth) {
    final result = <Object?>[];
    sequence('[', ']', () => result.add(value(depth + 1)));
    return result;
  }

  void sequence(String open, String close, void Function() entry) {
    expect(open);
    if (accept(close)) return;
    while (true) {
      entry();
      if (accept(close)) return;
      expect(',');
    }
  }

  String string() {
    final end = _control.allMatches(text, at).firstOrNull;
    if (end == null) fail('<escape> at the end of the string');
    final content = text.substring(at, end.start);
    at = end.start;
    expect('<escape>');
    return content;
  }

  Object? word() {
    final word = _bare.matchAsPrefix(text, at)?[0];
    if (word == null) fail('a value');
    final Object? scalar = switch (word) {
      'true' => true,
      'false' => false,
      'null' || 'None' => null,
      _ when _wholeNumber.hasMatch(word) => int.tryParse(word) ?? _decimal(word),
      _ => _decimal(word) ?? fail('a value'),
    };
    at += word.length;
    return scalar;
  }

  String key() {
    final name = _name.matchAsPrefix(text, at)?[0];
    if (name == null) fail('a name');
    at += name.length;
    return name;
  }

  bool accept(String literal) {
    final accepted = text.startsWith(literal, at);
    if (accepted) at += literal.length;
    return accepted;
  }

  void expect(String literal) {
    if (!accept(literal)) fail(literal);
  }

  Never fail(String expected) {
    final end = at + 30 < text.length ? at + 30 : text.length;
    final found = at < text.length ? '"${text.substring(at, end)}"' : 'the end';
    throw ModelCallException([
      'the text cannot be read: expected $expected at character $at, found $found',
    ]);
  }
}
