"""Throw arbitrary texts at `calls.parse`: it may refuse with CallSyntaxError, in time, and what it reads it reads again.

    .venv/bin/python tests/fuzz_calls.py --count 1000000             random texts near the format, seeded
    python tests/fuzz_calls.py --count 1000000 --atheris             guided by the code reached; needs atheris only

A text that breaks the rule is shown and the script ends with 1; put it into tests/vectors/odd_calls.json, which
tests/test_fuzz_calls.py reads on every run.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fgkit.calls import Call, _Parser, parse
from fgkit.errors import CallSyntaxError
from fgkit.prompts import CONTROL_TOKENS, completion

SLOW = 0.5  # seconds of this process for one text; the longest have some 100,000 characters
NAMES = ["f", "a", "_", "x.y-z", "call", "true", "None", "null", "_9", "B", "b"]
SCALARS = [
    "0",
    "-0",
    "1",
    "-7",
    "1.5",
    "-0.0",
    "1e5",
    "1e-05",
    "1.5e-07",
    "1E+40",
    "9" * 25,
    "5e-324",
    "true",
    "false",
    "None",
    "null",
]
STRINGS = [
    "",
    "x",
    " ",
    "\n",
    "{a:1}",
    "],",
    "<",
    "<escape",
    "escape>",
    "\x00",
    "\u2028",
    "🎌",
    "é" * 40,
    '<|"|>',
]
ODD = [
    "é",
    "ключ",
    "1a",
    "01",
    "1.",
    ".5",
    "1E+400",
    "-",
    "--1",
    "1_0",
    "٣",
    "0x1f",
    "inf",
    "nan",
    "True",
    "none",
    "\ud800",
    " ",
    "9" * 309,
    "9" * 4300,
    "9" * 4301,
    "1" + "0" * 400 + ".0",
]
PARTS = [
    *CONTROL_TOKENS,
    *NAMES,
    *SCALARS,
    *ODD[:-4],
    *STRINGS,
    "call:",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "<start_of_image>",
    "<start_function_call>call:f{",
    "}<end_function_call>",
    "a:<escape>",
    "[[",
    "]]",
    "{a:{a:",
]
MUTATIONS = ("drop", "double", "swap", "put", "cut", "case", "space")


def check(text: str) -> str:
    """Parse one text both ways and hold the result against the rule; say what became of it.

    Raises:
        AssertionError: it was slow, misplaced its error, or did not read its own calls again.
        Exception: whatever `parse` should not have raised.
    """
    outcome = "refused"
    for end_tag_cut in (False, True):
        start = time.process_time()
        try:
            found = parse(text, end_tag_cut=end_tag_cut)
        except CallSyntaxError as error:
            assert 0 <= error.offset <= len(text), (error.offset, len(text))
            assert "expected" in str(error) and len(str(error)) < 400, str(error)
            found = None
        took = time.process_time() - start
        assert took < SLOW, f"{took:.2f} s for {len(text)} characters"
        if found:
            outcome = "calls"
            assert spelt(parse(completion(found))) == spelt(found)
        elif found is not None and outcome != "calls":
            outcome = "plain text"
    return outcome


def spelt(item: object) -> object:
    """The value with every type spelt out: 1, 1.0 and True differ, and -0.0 from 0.0."""
    if isinstance(item, Call):
        return item.name, spelt(item.arguments)
    if isinstance(item, dict):
        return {key: spelt(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [spelt(inner) for inner in item]
    return type(item).__name__, repr(item)


class Source:
    """Texts near the format: written from the grammar, then damaged; thrown together from its parts; or any characters.

    Args:
        pick: gives a number from 0 to n - 1, at random or as a guided fuzzer wants it.
    """

    def __init__(self, pick):
        self.pick = pick

    def text(self) -> str:
        kind = self.pick(100)
        if kind < 5:
            return "".join(chr(self.pick(0x11000)) for _ in range(self.pick(30)))
        if kind == 5:
            return self.bomb()
        if kind < 30:
            return "".join(self.of(PARTS) for _ in range(self.pick(16)))
        text = self.of(["", "", "Sure. ", "\n"]) + "".join(
            self.call() for _ in range(1 + self.pick(3))
        )
        for _ in range(max(0, self.pick(5) - 1)):
            text = self.damaged(text)
        return text + self.of(["", "<start_function_response>", "<end_of_turn>", "<eos>", " "])

    def of(self, options):
        """One of the options, or now and then something that belongs nowhere."""
        return (
            options[self.pick(len(options))]
            if options is MUTATIONS or self.pick(60)
            else ODD[self.pick(len(ODD))]
        )

    def call(self) -> str:
        return f"<start_function_call>call:{self.of(NAMES)}{self.dict(0)}<end_function_call>"

    def dict(self, depth: int) -> str:
        return (
            "{"
            + ",".join(f"{self.of(NAMES)}:{self.value(depth + 1)}" for _ in range(self.pick(4)))
            + "}"
        )

    def value(self, depth: int) -> str:
        kind = self.pick(6 if depth < 5 else 4)
        if kind < 2:
            return f"<escape>{self.of(STRINGS)}<escape>"
        if kind < 4:
            return self.of(SCALARS)
        if kind == 4:
            return self.dict(depth)
        return "[" + ",".join(self.value(depth + 1) for _ in range(self.pick(4))) + "]"

    def damaged(self, text: str) -> str:
        start = self.pick(len(text) + 1)
        end = min(len(text), start + self.pick(8))
        how = self.of(MUTATIONS)
        if how == "drop":
            return text[:start] + text[end:]
        if how == "double":
            return text[:end] + text[start:]
        if how == "swap":
            return text[:start] + text[start:end][::-1] + text[end:]
        if how == "put":
            return text[:start] + self.of(PARTS) + text[start:]
        if how == "cut":
            return text[:start]
        return text[:start] + (text[start:end].swapcase() if how == "case" else " ") + text[end:]

    def bomb(self) -> str:
        """Deep or long: nesting to any depth, many calls, long numbers, strings that never end."""
        size = [10, 60, 63, 64, 65, 500, 5000][self.pick(7)]
        opening, closing = [("[", "]"), ("{a:", "}"), ("[{a:", "}]"), ("{a:[", "")][self.pick(4)]
        inside = self.of(["1", "", "<escape>", "9" * size, "<" * size, "a:" * size, ",1" * size])
        body = opening * size + inside + closing * size
        return self.of(
            [
                f"<start_function_call>call:f{{a:{body}}}<end_function_call>",
                body,
                "<start_function_call>call:f{}<end_function_call>" * size,
                f"<start_function_call>call:f{{{','.join(f'k{i}:1' for i in range(size))}}}<end_function_call>",
            ]
        )


def run(count: int, seed: int) -> Counter:
    """Check `count` seeded texts; give how many were refused, read as calls or as plain text."""
    generator = random.Random(seed)
    source = Source(lambda n: int(generator.random() * n))
    outcomes: Counter = Counter()
    for _ in range(count):
        text = source.text()
        try:
            outcomes[check(text)] += 1
        except BaseException:
            print(f"breaks the rule: {text[:2000]!r}", file=sys.stderr)
            raise
    return outcomes


def run_guided(count: int, seed: int) -> None:
    """The same with atheris, which keeps what reaches new code."""
    import atheris

    atheris.instrument_func(parse)
    for function in vars(_Parser).values():
        if callable(function):
            atheris.instrument_func(function)

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        check(Source(lambda n: provider.ConsumeIntInRange(0, n - 1)).text())
        check(data.decode("utf-8", "surrogateescape"))

    atheris.Setup(
        [sys.argv[0], f"-runs={count}", f"-seed={seed}", "-max_len=400", "-len_control=0"], one
    )
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="texts to try (default: a million)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--atheris", action="store_true", help="let atheris choose, by the code reached"
    )
    options = parser.parse_args()
    start = time.perf_counter()
    if options.atheris:
        return run_guided(options.count, options.seed)
    outcomes = run(options.count, options.seed)
    print(
        f"{options.count:,} texts, seed {options.seed}: {time.perf_counter() - start:.0f} s; "
        + ", ".join(f"{name} {number:,}" for name, number in outcomes.most_common())
    )


if __name__ == "__main__":
    main()
