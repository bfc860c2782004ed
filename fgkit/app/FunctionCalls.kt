{header}
package {package}

import kotlin.math.abs

/** One call as the model wrote it; nothing in it is checked yet. */
data class ModelCall(val name: String, val arguments: Map<String, Any?>)

/** The answer cannot be parsed, or a call cannot be made; [problems] has a line for each reason. */
class ModelCallException(val problems: List<String>) : Exception(problems.joinToString("\n"))

/**
 * Parses the calls in a model's answer; a plain text has none.
 *
 * For runtimes that return text. The last `<end_function_call>` may be missing, because some
 * runtimes stop at it and leave it out.
 */
fun parseCalls(answer: String): List<ModelCall> {
    val stop = Regex("<eos>|<start_function_response>|<end_of_turn>").find(answer)
    val calls = if (stop == null) answer else answer.substring(0, stop.range.first)
    return AnswerReader(calls).calls()
}

/**
 * Breaks every control token in a text with an invisible space, so that no user can type a turn
 * of the model.
 */
fun neutralise(text: String): String =
    CONTROL.replace(text) { "<\u200b" + it.value.substring(1) }

/**
 * Checks arguments against a function's schema and converts them to its types: `"5"` and `5.0`
 * become `5`, and `"RED"` becomes `"red"`.
 */
fun checkArguments(
    name: String, schema: Map<String, Any?>, arguments: Map<String, Any?>,
): Map<String, Any?> {
    val problems = mutableListOf<String>()
    val checked = checkMembers(arguments, schema, name, problems)
    if (problems.isNotEmpty()) throw ModelCallException(problems)
    return checked
}

private fun checkMembers(
    members: Map<*, *>, schema: Map<*, *>, place: String, problems: MutableList<String>,
): Map<String, Any?> {
    val properties = schema["properties"] as? Map<*, *> ?: emptyMap<String, Any?>()
    val required = schema["required"] as? List<*> ?: emptyList<String>()
    val checked = linkedMapOf<String, Any?>()
    for ((key, value) in members) {
        val inner = properties[key] as? Map<*, *>
        if (inner == null) {
            val known = properties.keys.joinToString().ifEmpty { "nothing" }
            problems += "$place.$key: is not known; there is $known"
        } else if (value != null || key in required || inner["nullable"] == true) {
            checked[key as String] = checkValue(value, inner, "$place.$key", problems)
        }
    }
    for (key in required) if (key !in members) problems += "$place.$key: is missing"
    return checked
}

private fun checkValue(
    value: Any?, schema: Map<*, *>, place: String, problems: MutableList<String>,
): Any? {
    if (value == null && schema["nullable"] == true) return null
    val given = if (value is Number) number(value) else value
    val kind = schema["type"]
    val checked: Any? = when {
        kind == "string" && given is String -> enumValue(given, schema["enum"] as? List<*>)
        kind == "integer" -> integer(given)
        kind == "number" -> decimal(given)
        kind == "boolean" ->
            given as? Boolean ?: (given as? String)?.lowercase()?.toBooleanStrictOrNull()
        kind == "array" && given is List<*> -> {
            val items = schema["items"] as? Map<*, *>
            given.mapIndexed { index, item ->
                if (items == null) item else checkValue(item, items, "$place[$index]", problems)
            }
        }
        kind == "object" && given is Map<*, *> ->
            if (schema["properties"] !is Map<*, *>) given
            else checkMembers(given, schema, place, problems)
        kind !in KINDS -> given
        else -> null
    }
    if (checked == null && kind in KINDS) {
        val expected = (schema["enum"] as? List<*>)?.joinToString(", ", "one of ") ?: "type $kind"
        problems += "$place: is ${toJson(value)}, expected $expected"
    }
    val size = when (checked) {
        is Number -> checked.toDouble()
        is List<*> -> checked.size.toDouble()
        else -> null
    }
    if (size != null) {
        val least = schema[if (checked is List<*>) "minItems" else "minimum"] as? Number
        val most = schema[if (checked is List<*>) "maxItems" else "maximum"] as? Number
        val what = if (checked is List<*>) "holds ${checked.size}" else "is ${toJson(checked)}"
        if (least != null && size < least.toDouble()) {
            problems += "$place: $what, expected at least ${toJson(least)}"
        }
        if (most != null && size > most.toDouble()) {
            problems += "$place: $what, expected at most ${toJson(most)}"
        }
    }
    return checked
}

private val KINDS = listOf("string", "integer", "number", "boolean", "array", "object")

private fun enumValue(text: String, allowed: List<*>?): String? =
    if (allowed == null || text in allowed) text
    else allowed.filterIsInstance<String>()
        .filter { it.lowercase() == text.lowercase() }
        .singleOrNull()

private fun integer(value: Any?): Long? = when (value) {
    is Long -> value
    // Beyond 9.2e18 a Double no longer fits into a Long.
    is Double -> if (value == Math.rint(value) && abs(value) < 9.2e18) value.toLong() else null
    is String -> if (INTEGER.matches(value)) value.toLongOrNull() else null
    else -> null
}

private fun decimal(value: Any?): Double? = when (value) {
    is Long -> value.toDouble()
    is Double -> value.takeIf { it.isFinite() }
    is String -> if (NUMBER.matches(value)) value.toDouble().takeIf { it.isFinite() } else null
    else -> null
}

/** Converts the number of any JSON library to Long or Double. */
private fun number(value: Number): Any = when (value) {
    is Long, is Double -> value
    is Int, is Short, is Byte -> value.toLong()
    else -> value.toString().toLongOrNull() ?: value.toDouble()
}

private const val TOKENS = "{tokens}"
private val CONTROL = Regex(TOKENS)
private val NAME = Regex("[A-Za-z_][A-Za-z0-9_.-]*")
private val INTEGER = Regex("-?(?:0|[1-9][0-9]*)")
private val NUMBER = Regex("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
private val BARE = Regex("[^,{}\\[\\]<\"\\s]+")
private const val DEEPEST = 64

/** The syntax that JSON and the model's answers share; [at] is the index of the next character. */
private abstract class Reader(val text: String) {
    var at = 0

    abstract fun scalar(): Any?
    abstract fun key(): String
    open fun space() {}

    fun value(depth: Int): Any? {
        if (depth > DEEPEST) fail("fewer nested levels")
        space()
        val result = when {
            text.startsWith("{", at) -> members(depth)
            text.startsWith("[", at) -> items(depth)
            else -> scalar()
        }
        space()
        return result
    }

    fun members(depth: Int): Map<String, Any?> {
        val result = linkedMapOf<String, Any?>()
        sequence("{", "}") {
            val name = key()
            if (name in result) fail("each name once")
            expect(":")
            result[name] = value(depth + 1)
        }
        return result
    }

    private fun items(depth: Int): List<Any?> {
        val result = mutableListOf<Any?>()
        sequence("[", "]") { result += value(depth + 1) }
        return result
    }

    private fun sequence(open: String, close: String, entry: () -> Unit) {
        expect(open)
        space()
        if (accept(close)) return
        while (true) {
            entry()
            if (accept(close)) return
            expect(",")
            space()
        }
    }

    fun word(): Any? {
        val start = at
        val word = BARE.matchAt(text, at)?.value ?: fail("a value")
        at += word.length
        return when {
            word == "true" -> true
            word == "false" -> false
            word == "null" || this is AnswerReader && word == "None" -> null
            INTEGER.matches(word) -> word.toLongOrNull() ?: word.toDouble()
            NUMBER.matches(word) && word.toDouble().isFinite() -> word.toDouble()
            else -> { at = start; fail("a value") }
        }
    }

    fun accept(literal: String): Boolean =
        text.startsWith(literal, at).also { if (it) at += literal.length }

    fun expect(literal: String) { if (!accept(literal)) fail(literal) }

    fun fail(expected: String): Nothing {
        val end = minOf(text.length, at + 30)
        val found = if (at < text.length) "\"${text.substring(at, end)}\"" else "the end"
        throw ModelCallException(listOf(
            "the text cannot be read: expected $expected at character $at, found $found",
        ))
    }
}

private class AnswerReader(text: String) : Reader(text) {
    fun calls(): List<ModelCall> {
        at = CONTROL.find(text)?.range?.first ?: return emptyList()
        val calls = mutableListOf<ModelCall>()
        while (at < text.length) {
            expect("<start_function_call>")
            expect("call:")
            calls += ModelCall(key(), members(0))
            if (at < text.length) expect("<end_function_call>")
        }
        return calls
    }

    override fun key(): String =
        NAME.matchAt(text, at)?.value?.also { at += it.length } ?: fail("a name")

    override fun scalar(): Any? {
        if (!accept("<escape>")) return word()
        val end = CONTROL.find(text, at) ?: fail("<escape> at the end of the string")
        val content = text.substring(at, end.range.first)
        at = end.range.first
        expect("<escape>")
        return content
    }
}

private class JsonReader(text: String) : Reader(text) {
    override fun space() { while (at < text.length && text[at] in " \t\r\n") at++ }

    override fun key(): String = (scalar() as? String ?: fail("a name")).also { space() }

    override fun scalar(): Any? {
        if (!accept("\"")) return word()
        val content = StringBuilder()
        while (!accept("\"")) {
            if (at >= text.length) fail("\"")
            val next = text[at++]
            content.append(if (next == '\\') escaped() else next)
        }
        return content.toString()
    }

    private fun escaped(): Char = when (val next = text.getOrElse(at++) { ' ' }) {
        'n' -> '\n'
        't' -> '\t'
        'r' -> '\r'
        'b' -> '\b'
        'f' -> '\u000c'
        'u' -> {
            val code = text.substring(at, minOf(text.length, at + 4)).toIntOrNull(16)
            (code ?: fail("four hexadecimal digits")).toChar().also { at += 4 }
        }
        '"', '\\', '/' -> next
        else -> fail("an escape")
    }
}

/** Parses JSON: objects become maps, integers Long, other numbers Double. */
fun parseJson(text: String): Any? =
    JsonReader(text).run { value(0).also { if (at < text.length) fail("the end") } }

/**
 * Writes maps, lists, strings, numbers, booleans and null as JSON; Unit is written as null,
 * anything else as its string.
 */
fun toJson(value: Any?): String = when (value) {
    null, Unit -> "null"
    is Boolean, is Int, is Long, is Double -> value.toString()
    is Map<*, *> -> value.entries.joinToString(",", "{", "}") { (key, item) ->
        "${toJson(key.toString())}:${toJson(item)}"
    }
    is Iterable<*> -> value.joinToString(",", "[", "]") { toJson(it) }
    else -> value.toString()
        .map { if (it < ' ' || it in "\"\\\u2028\u2029") "\\u%04x".format(it.code) else "$it" }
        .joinToString("", "\"", "\"")
}
